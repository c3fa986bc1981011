"""JSON that nothing here writes is refused where it is read, in words."""

from __future__ import annotations

import pytest

from vdae_bench.system import strict_json

REFUSED = {
    "1e76": "the number 1e76",
    "[NaN]": "the number NaN",
    "-Infinity": "the number -Infinity",
    "9223372036854775808": "the number 9223372036854775808",
    f"1{'0' * 5000}": "the number 10000000000000000000$",
    '"\\ud800"': "not Unicode",
    '{"\\ud800": 1}': "not Unicode",
    '{"a": {"b": 1, "b": 1}}': "a key twice",
    "[" * 21 + "]" * 21: "nested too deep",
    "[" * 100_000: "nested too deep",
    '{"a": 1': "delimiter",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_what_nothing_here_writes_is_refused_in_words(text):
    with pytest.raises(ValueError, match=REFUSED[text]):
        strict_json.loads(text)


def test_all_else_is_read_as_it_is():
    text = (
        '{"a": [1, -2.5, 1e38, 9223372036854775807, "é\\ud83d\\ude00", true, null, {}], "b": '
        + "[" * 19
        + "]" * 19
        + "}"
    )
    content = strict_json.loads(text.encode())
    assert content["a"] == [1, -2.5, 1e38, 2**63 - 1, "é😀", True, None, {}] and len(content["b"]) == 1
