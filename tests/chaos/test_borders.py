"""What comes from outside is checked where it comes in, and encoded where it goes out: secrets, files, markup, bits."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import os
import re
import shlex
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure

from tests.support.hostile import CHAOS, MARKUP
from tests.support.records import made_up_record, publish, small_record
from tests.support.specs import TINY
from vdae_bench.cli.main import cli
from vdae_bench.cli.resolve import changed_spec, parse_settings
from vdae_bench.errors import UserError
from vdae_bench.models.registry import load_plugin
from vdae_bench.report.build import FORMATS, build_reports
from vdae_bench.report.style.csv import csv
from vdae_bench.report.style.figure import canvas, saved
from vdae_bench.running.options import Command, RunOptions, SpecOptions
from vdae_bench.running.pools import choose_pool
from vdae_bench.running.workers import Load
from vdae_bench.search.ledger import open_storage
from vdae_bench.search.trials import RUNGS, rungs
from vdae_bench.spec.check import load_spec
from vdae_bench.spec.protocol import load_protocol
from vdae_bench.spec.sweep import Cell
from vdae_bench.store.provenance import provenance
from vdae_bench.store.records import Store, parse, to_json
from vdae_bench.system.lease import Held, Lease
from vdae_bench.system.redact import redacted, redacted_command, without
from vdae_bench.system.strict_json import SEAL
from vdae_bench.system.tensor_file import load_if_fitting, read_tensors, write_tensors
from vdae_bench.system.untrusted import LARGEST_SPEC, Unfit, content_of
from vdae_bench.system.words import parse_duration, visible

VAE = Cell("binary-mnist", "vae", 16)
CONTINUOUS = Cell("continuous-mnist", "vae", 16)

ADDRESSES = [
    "postgresql://me:HUNTER2@host/db",
    "postgresql+psycopg://me:HUNTER2@host:5432/db?sslmode=require",
    "postgresql://me:a@HUNTER2@host/db",
    "postgresql://me:a/HUNTER2?b@host/db",
    "postgresql://me:my HUNTER2@host/db",
    "postgresql://me:it's HUNTER2@host/db",
    "postgresql://host/db?user=me&password=HUNTER2",
    "postgresql://host/db?p%61ssword=HUNTER2",
    "mysql://host/db?passwd=HUNTER2;charset=x",
    "mssql+pyodbc://?odbc_connect=Driver%3Dx%3BPWD%3DHUNTER2",
    "redis://:HUNTER2@host:6379/0",
    "https://HUNTER2@host/simple",
    "https://host/simple?access_token=HUNTER2",
    *(f"postgresql://host/db?{key}=HUNTER2" for key in ("AccountKey", "private_key", "db_pw", "auth", "x-jwt")),
    "postgresql://host/db?%2570%2561%2573%2573=HUNTER2",
    "postgresql://host/db?password%3DHUNTER2",
    *(f"postgresql://host/db?password=a{sign}HUNTER2&sslmode=require" for sign in "'\"&;#= "),
    "postgresql://me:HUNTER2",
    *(f"postgresql://me:a{sign}HUNTER2" for sign in "/?:#"),
    *(f"postgresql://me:a{sign}HUNTER2@host/db" for sign in ("\\", "\n", "'", "%", "\\n")),
    "host=h password='a'HUNTER2'",
    "password='it's HUNTER2' host=h",
    "password='never closed HUNTER2",
    "//me:HUNTER2@host/db",
    "postgresql:/me:HUNTER2@host/db",
    "me:HUNTER2@host/db",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_password_is_written(address):
    command = str(Command("search", ("s.yaml",), run=RunOptions(storage=address)))
    assert "HUNTER2" not in command and "s.yaml --storage" in command
    typed = shlex.join(["vdae-bench", "search", "s.yaml", "--storage", address])
    joined = shlex.join(["vdae-bench", "search", "s.yaml", f"--storage={address}"])
    for line in (typed, joined):
        assert "HUNTER2" not in provenance("", "", datetime.now(UTC), line)["command"]
        old = json.loads(to_json(small_record(0)))
        del old[SEAL]
        old["provenance"]["command"] = line
        assert "HUNTER2" not in to_json(parse(json.dumps(old)))


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_password_is_in_the_error_of_a_storage(tmp_path, address):
    with pytest.raises(UserError) as raised:
        open_storage(tmp_path, address.replace("postgresql", "nosuchbase").replace("host", "127.0.0.1:1"))
    assert "HUNTER2" not in str(raised.value)


@pytest.mark.parametrize("sign", ["\\", "\n", "\udce9", "'", "%", "\\n", "\u00e9", "/", "?"])
def test_a_password_is_in_no_message_however_a_driver_writes_it(sign):
    password = f"HUN{sign}TER2"
    written = (password, repr(password), visible(password), repr(os.fsencode(password)), quote(os.fsencode(password)))
    for each in written:
        said = without(f"{each} is wrong", f"postgresql://me:{password}@host/db")
        assert "HUN" not in said and "TER2" not in said and "is wrong" in said


def test_what_has_no_secret_stays_as_it_is():
    for text in (
        "vdae-bench sweep 'a b.yaml' --set learning_rate=1e-3 --scheduler tcp://host:8786",
        "vdae-bench search s.yaml --storage postgresql://me@host/db?passfile=/home/me/.pgpass",
        "vdae-bench search s.yaml --storage sqlite:///study.db",
        "vdae-bench search s.yaml --storage 'postgresql://me@host:5432/db?sslkey=/home/me/key.pem'",
        "vdae-bench sweep s --scheduler tls://host:8786 --tls-key=key.pem --data C:/x",
        'an odd " quote',
        "vdae-bench sweep s --set token_dim=64 --set passes=3 --set=bearer_scale=-1.5e-3",
    ):
        assert redacted(text) == redacted_command(text) == text


def test_the_place_of_a_password_is_no_password(tmp_path):
    with pytest.raises(UserError, match="VDAE_BENCH_STORAGE"):
        open_storage(tmp_path, "postgresql://me:***@host/db")


PAYLOADS = [
    *MARKUP,
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</code><svg onload=alert(1)>",
    "<!-- <b>",
    "`<b>`",
    "``<b>",
    "[x](javascript:alert(1))",
    "![x](http://host/x.png)",
    "<http://host>",
    "&lt;script&gt;",
    "a\n\n# A heading\n\n<b>x</b>",
    "a\n\n| a | b |\n|---|---|\n| 1 | 2 |",
    "a | b \\| c",
    "\\",
    "\\\\",
    "x\u2028y\u0085z\u202e",
    "\x1b]0;x\x07\x9b2J",
    '<a id="x"></a>',
    '" onmouseover="alert(1)',
    "@SUM(1)",
    "+1",
    "-1+cmd|' /C calc'!A0",
    "\\input{/etc/passwd}",
    "$\\frac{",
    "*a* _b_ **c**",
]


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, tuple(sorted(name for name, _ in attrs))))


def elements(page: str) -> list[tuple[str, tuple[str, ...]]]:
    parser = _Elements()
    parser.feed(page)
    return parser.found


def reports_of(folder: Path, texts: list[str]) -> dict[str, str]:
    """The files of reports on records whose free texts are these in turn."""
    store, reports, next_text = Store(folder / "results"), folder / "reports", itertools.cycle(texts).__next__
    names = ("git_commit", "torch", "python", "platform", "command", "package_version", "dataset_sha256")
    origin = {name: next_text() for name in names}
    device, flag, description, limit, source = (next_text() for _ in range(5))
    for cell in (VAE, CONTINUOUS):
        record = made_up_record(cell, provenance=origin, cost={"device": device}, flags=(flag,))
        record.hyperparameters["source"] = f"search {source}"
        record.protocol |= {"description": description, "cannot_show": [limit]}
        publish(store, "s", "quick", cell.slug, [record])
    build_reports(store, reports, formats=FORMATS)
    shown = (path for path in reports.rglob("*") if path.suffix in (".md", ".csv", ".tex", ".html"))
    return {path.name: path.read_text() for path in shown}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, buffer, **_: buffer.write(b"<svg></svg>"))
        yield reports_of(tmp_path_factory.mktemp("plain"), ["x"])


@pytest.mark.parametrize("first", range(0, len(PAYLOADS), 1 if CHAOS else 7))
def test_text_of_a_record_stays_text_in_every_format(plain, tmp_path, monkeypatch, first):
    monkeypatch.setattr(Figure, "savefig", lambda self, buffer, **_: buffer.write(b"<svg></svg>"))
    hostile = reports_of(tmp_path, PAYLOADS[first:] + PAYLOADS[:first])
    assert hostile.keys() == plain.keys()
    assert elements(hostile["index.html"]) == elements(plain["index.html"])
    for name, content in hostile.items():
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", content), name
    lines = [[len(page["s.md"].splitlines()), page["s.md"].count("\n#")] for page in (hostile, plain)]
    assert lines[0] == lines[1]
    assert "\\input" not in hostile["s.tex"] and "\\frac" not in hostile["s.tex"]
    assert not re.search(r"(^|,)\"?([=@]|[+-](?![\d.]|,|$))", hostile["records.csv"], re.MULTILINE)


def test_the_page_for_a_browser_lets_nothing_run_but_its_own_script(plain):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', plain["index.html"])
    (script,) = re.findall(r"<script>(.*?)</script>", plain["index.html"], re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = html.unescape(policy[1]) if policy else ""
    assert f"script-src 'sha256-{digest}'" in allowed and "default-src 'none'" in allowed


@pytest.mark.parametrize("name", ["<b>", "a\\b", "$x", "a\nb", "\x1b[2J", "../x", "a/b", "=1"])
def test_no_record_has_a_name_that_is_none(name):
    for change in ({"dataset": name}, {"method": name}, {"options": {name: 1}}, {"options": {"a": name}}):
        content = json.loads(to_json(small_record(0)))
        del content[SEAL]
        content["cell"] |= change
        with pytest.raises(ValueError, match="name"):
            parse(json.dumps(content))


def test_a_title_is_no_mathematics():
    def make() -> Figure:
        figure = canvas(2, 2)
        figure.subplots().set_title("$\\frac{")
        return figure

    assert set(saved(make)) == {"svg", "png"}


def test_numbers_of_a_csv_stay_numbers():
    frame = pd.DataFrame({"a": [-1.5, 2.0], "b": ["-3", "=1"], "=c": ["-", None]})
    assert csv(frame) == "a,b,'=c\n-1.5,-3,-\n2.0,'=1,\n"


def special(kind: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(2**37)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "huge"])
def test_only_regular_files_of_bounded_size_are_read(tmp_path, kind):
    store = Store(tmp_path)
    path = store.path("s", "quick", VAE.slug, 0)
    try:
        special(kind, path)
        special(kind, tmp_path / "spec.yaml")
        special(kind, tmp_path / "a.lease")
    except OSError:
        pytest.skip("this file system has no such file")
    assert store.read(path) is None and [each for each, _ in store.unreadable()] == [path]
    with pytest.raises(UserError, match=r"regular file|bytes"):
        load_spec(tmp_path / "spec.yaml")
    with pytest.raises(Held):
        Lease(tmp_path / "a.lease").take()
    publish_over = small_record(0)
    store.publish([(path, publish_over)])
    assert store.read(path) == publish_over and len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "huge"])
def test_plugins_and_certificates_are_regular_files_of_bounded_size(tmp_path, context, kind):
    path = tmp_path / "own.py"
    try:
        special(kind, path)
    except OSError:
        pytest.skip("this file system has no such file")
    with pytest.raises(UserError, match=r"is not a file|bytes"):
        load_plugin(path)
    certificates = dict.fromkeys(("tls_ca", "tls_cert", "tls_key"), path)
    with pytest.raises(UserError, match=r"cannot read .*own.py"):
        options = RunOptions(scheduler="tls://127.0.0.1:1", **certificates)
        with choose_pool(options, context, Load(1, [0], [0.0]), print):
            pass


def test_a_spec_is_bounded_before_it_is_read_and_its_cells_before_they_are_made(tmp_path):
    many = ", ".join(map(str, range(1, 201)))
    (tmp_path / "many.yaml").write_text(
        "version: 1\nname: many\n"
        f"grid: {{dataset: [binary-mnist], method: [vae], latents: [{many}], a: [{many}], b: [{many}]}}"
    )
    with pytest.raises(UserError, match=r"8,000,000 cells, more than the limit of 10,000"):
        load_spec(tmp_path / "many.yaml")
    (tmp_path / "long.yaml").write_text("#" * (LARGEST_SPEC + 1))
    with pytest.raises(UserError, match="bytes"):
        load_spec(tmp_path / "long.yaml")
    (tmp_path / "text.yaml").write_text(f"a: &a |\n  {'x' * 200_000}\nb: [{', '.join(['*a'] * 5000)}]\n")
    with pytest.raises(UserError, match="too large"):
        load_spec(tmp_path / "text.yaml")


def flips(content: bytes, count: int) -> list[bytes]:
    """The content with one bit changed, each time another."""
    places = np.random.default_rng(0).choice(8 * len(content), min(count, 8 * len(content)), replace=False)
    changed = []
    for place in places.tolist():
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        changed.append(bytes(damaged))
    return changed


def test_no_record_is_read_with_a_bit_changed():
    text = to_json(made_up_record(CONTINUOUS)).encode()
    for damaged in flips(text, 1000):
        with pytest.raises(ValueError):
            parse(damaged.decode())
    assert parse(json.dumps(json.loads(text), indent=4).replace("\n", "\r\n")) == parse(text.decode())


def test_no_bit_of_the_digests_own_line_makes_an_old_record_of_it():
    text = to_json(made_up_record(CONTINUOUS)).encode()
    start = text.index(SEAL.encode())
    for place in range(8 * start, 8 * len(text)):
        damaged = bytearray(text)
        damaged[place // 8] ^= 1 << place % 8
        if bytes(damaged).split() != text.split():
            with pytest.raises(ValueError):
                parse(damaged.decode())


def test_a_record_of_before_is_read_unless_its_numbers_cannot_be():
    content = json.loads(to_json(made_up_record(CONTINUOUS)))
    del content[SEAL]
    assert parse(json.dumps(content)).seed == 0
    for score, value in (("nll_nats", 2000.0), ("neg_elbo_nats", -2000.0), ("nll_bits_per_dim", 1.0)):
        changed = json.loads(json.dumps(content))
        changed["metrics"]["test"][score] = value
        with pytest.raises(ValueError, match="its "):
            parse(json.dumps(changed))


def test_no_tensors_are_read_with_a_bit_changed(tmp_path):
    path = tmp_path / "weights.pt"
    write_tensors(path, {"state": torch.nn.Linear(3, 2).state_dict()})
    whole = path.read_bytes()
    assert load_if_fitting(torch.nn.Linear(3, 2), read_tensors(path)["state"])
    for damaged in flips(whole, 300):
        path.write_bytes(damaged)
        with pytest.raises(Unfit):
            read_tensors(path)


def test_weights_that_are_not_finite_or_of_another_shape_change_nothing():
    module = torch.nn.Linear(3, 2)
    before = {name: each.clone() for name, each in module.state_dict().items()}
    for other in (
        {**before, "bias": torch.tensor([float("nan"), 0.0])},
        {**before, "bias": torch.zeros(3)},
        {"weight": before["weight"]},
        None,
    ):
        assert not load_if_fitting(module, other)
        assert all(torch.equal(before[name], each) for name, each in module.state_dict().items())


GRID = "version: 1\nname: named\nprotocol: smoke\n"


def cells_of_levels(tmp_path: Path, levels: str) -> list[Cell]:
    grid = f"grid: {{dataset: [continuous-mnist], method: [vdae-resnet], latents: [784], log_sigma: {levels}}}\n"
    (tmp_path / "named.yaml").write_text(GRID + grid)
    return list(load_spec(tmp_path / "named.yaml").cells)


def test_cells_have_names_of_their_own(tmp_path):
    cells = cells_of_levels(tmp_path, "[-2.0000001, -2.0000002, -2, -2.5, -1e-7]")
    slugs = [cell.slug.rpartition("log_sigma-")[2] for cell in cells]
    assert slugs == ["-2.0000001", "-2.0000002", "-2", "-2.5", "-1e-07"]
    assert len(cells_of_levels(tmp_path, "[0, -0.0, 0.0]")) == 1


@pytest.mark.parametrize("name", ["records", "claims", "index", "bench", "chaos"])
def test_no_sweep_has_the_name_of_another_file_of_its_folder(tmp_path, name):
    (tmp_path / "s.yaml").write_text(TINY.but(name=name).text)
    with pytest.raises(UserError, match="choose another name"):
        load_spec(tmp_path / "s.yaml")


WRONG = [
    *("schedule=null", "schedule=true", "hidden_size=", "hidden_size=true", "hidden_size='64'", "hidden_size=1e400"),
    *("learning_rate=true", "learning_rate='1e-3'", "learning_rate=.nan", "epochs=true", "epochs=", "epochs=1.5"),
    *("scalar_rate=.inf", "scalar_rate=true", "seeds=true", "train_images=false", "log_det_rows=.inf"),
]


@pytest.mark.parametrize("words", WRONG)
@pytest.mark.parametrize("place", ["set", "protocol", "hyperparameters"])
def test_a_value_of_another_type_is_refused_wherever_it_is_written(tmp_path, words, place):
    name, _, value = words.partition("=")
    spec = GRID + "grid: {dataset: [binary-mnist], method: [vae], latents: [4]}\n"
    if place == "protocol":
        spec = spec.replace("protocol: smoke", f"protocol: {{base: smoke, {name}: {value}}}")
    elif place == "hyperparameters":
        spec += f"hyperparameters: {{{name}: {value}}}\n"
    (tmp_path / "s.yaml").write_text(spec)
    with pytest.raises(UserError, match=name):
        load_spec(tmp_path / "s.yaml", overrides=parse_settings([words], None) if place == "set" else None)


@pytest.mark.parametrize("word", ["9" * 400 + "s", "99999999d", "0s", "nan"])
def test_a_time_is_one_that_can_be_reckoned_with(word):
    with pytest.raises(UserError, match="a time is written"):
        parse_duration(word)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--flops-per-second", "nan"),
        ("--flops-per-second", "1e-300"),
        ("--flops-per-second", "inf"),
        ("--shards", "1" + "0" * 9),
        ("--threads", "1" + "0" * 9),
        ("--epochs", "1" + "0" * 30),
    ],
)
def test_a_number_of_an_option_is_one_that_can_be_reckoned_with(flag, value):
    found = CliRunner().invoke(cli, ["plan", "table1", flag, value])
    assert isinstance(found.exception, SystemExit | UserError)
    assert flag.strip("-") in f"{found.output}{found.exception}"


def test_huge_numbers_are_reckoned_with_at_once():
    assert len(rungs(2**63 - 1)) <= RUNGS and max(rungs(2**63 - 1)) == 2**63 - 1
    assert Load(tasks=2, task_bytes=[1, 1], seconds=[1.0, 1.0]).workers_that_fit(10**12) in (1, 2)


@pytest.mark.parametrize("name", ["index.html", "readme.md", "performance.svg"])
def test_a_protocol_has_not_the_name_of_a_page(tmp_path, name):
    (tmp_path / f"{name}.yaml").write_text("base: smoke\n")
    with pytest.raises(UserError, match="of a page"):
        load_protocol(str(tmp_path / f"{name}.yaml"))


def test_an_empty_variable_of_a_shell_is_no_value():
    for word, said in (("train_images=", "has no value"), ("train_images= ", "has no value"), ("lr=", "learning_rate")):
        with pytest.raises(UserError, match=said):
            changed_spec("table1", SpecOptions(settings=(word,)))
    assert changed_spec("table1", SpecOptions(settings=("train_images=null",)))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("version: true", "a number"),
        (r'description: "\ud800"', "half a character"),
        (r'"\ud800\udc00": 1', "a key has half a character"),
        (
            f"include: [{{dataset: continuous-mnist, method: vdae-resnet, latents: 784, log_sigma: {10**400}}}]",
            "is too large",
        ),
        (f"hyperparameters: {{learning_rate: {10**400}}}", "is too large"),
        (r'protocol: {"\udfff": 1}', "a key has half a character"),
    ],
)
def test_a_spec_has_no_value_of_another_type_and_no_half_character(tmp_path, line, said):
    key = line.partition(":")[0]
    grid = "grid: {dataset: [binary-mnist], method: [vae], latents: [4]}"
    others = (f"{name}: {value}" for name, value in (("version", 1), ("name", "x")) if name != key)
    (tmp_path / "s.yaml").write_text("\n".join([*others, line, grid]))
    with pytest.raises(UserError, match=said):
        load_spec(tmp_path / "s.yaml")


def test_what_was_checked_is_what_is_used(tmp_path):
    (tmp_path / "s.yaml").write_text(GRID + "grid: {dataset: [binary-mnist], method: [vae], latents: [1e1]}\n")
    spec, same = (
        load_spec(tmp_path / "s.yaml", overrides=values)
        for values in ({"hidden_size": 1e2, "epochs": 1e0, "seeds": 3}, {"hidden_size": 100, "epochs": 1, "seeds": 3})
    )
    assert spec.protocol == same.protocol and spec.seeds == 3 and spec.cells[0].latents == 10
    used = spec.resolved_hyperparameters(spec.cells[0])["hidden_size"]
    assert used == 100 and type(used) is int and type(spec.protocol.overrides["hidden_size"]) is int


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        content_of(tmp_path / "none")
