"""The help of the verbs: in the order of use, a whole line each; their options in groups, with an example."""

from __future__ import annotations

from typing import Any

import click

from vdae_bench.running.options import GROUPS

ORDER = {
    "Start": ("doctor", "data", "list", "reproduce"),
    "Run a sweep of your own": ("validate", "plan", "search", "sweep"),
    "Follow a run": ("status", "watch"),
    "Read the results": ("report", "claims", "explain", "compare", "export"),
    "Other tools": ("illustrate", "bench"),
}
"""The verbs in the order of use."""


class GroupedOption(click.Option):
    """An option of a group; those of no group stand last."""

    def __init__(self, *words: Any, group: str = "", **named: Any) -> None:
        super().__init__(*words, **named)
        self.group = group


class Verb(click.Command):
    """A verb whose help has its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group that has an option of this verb."""
        for group in (*GROUPS, ""):
            lines = [
                line
                for each in self.get_params(ctx)
                if isinstance(each, click.Option)
                and getattr(each, "group", "") == group
                and (line := each.get_help_record(ctx))
            ]
            if lines:
                with formatter.section(f"{group[:1].upper()}{group[1:]}" or "Options"):
                    formatter.write_dl(lines)


class Parts(click.Group):
    """A verb of several parts, each listed with a whole line."""

    command_class = Verb

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every part, in the order of the code."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each part; no line is cut."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands[name].short_help or "") for name in self.list_commands(ctx)])


class Verbs(Parts):
    """The verbs, listed in the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order of use."""
        known = [name for names in ORDER.values() for name in names]
        return sorted(self.commands, key=lambda name: (known.index(name) if name in known else len(known), name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each part of the list; no line is cut."""
        for title, names in ORDER.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].short_help or "") for name in names])


def example(*lines: str) -> str:
    """The end of a help: commands to type."""
    return "\b\n" + "\n".join([f"Example{'s' if len(lines) > 1 else ''}:", *(f"  {line}" for line in lines)])
