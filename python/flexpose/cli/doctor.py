"""`flexpose doctor`: what is installed, what the machine can do, what would run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ._options import JsonOption
from ._output import print_json, print_table, say

__all__ = ["doctor_cli"]


def _rows(found: dict[str, Any]) -> list[tuple[str, object]]:
    python, cpu, threads, torch, backend = (
        found[k] for k in ("python", "cpu", "threads", "torch", "backend")
    )
    quota = "no quota" if threads["cgroup_quota"] is None else f"quota {threads['cgroup_quota']:g}"
    rows: list[tuple[str, object]] = [
        ("flexpose", found["version"]),
        ("python", f"{python['implementation']} {python['version']} on {python['platform']}"),
        ("cpu", cpu["model"]),
        (
            "cpu features",
            "unknown" if cpu["features"] is None else ", ".join(cpu["features"]) or "none of interest",
        ),
        (
            "threads",
            f"{threads['allowed']} allowed: {threads['affinity']} of {threads['cpus']} CPUs, {quota}",
        ),
    ]
    for name, module in found["modules"].items():
        rows.append((name, module["version"] or "loads" if module["available"] else module["reason"]))
    if torch["available"]:
        cuda = ", ".join(torch["devices"]) if torch["cuda"] else "no GPU seen"
        rows.append(
            ("torch", f"{torch['version']}, {torch['cpu_capability']}, {torch['threads']} threads, {cuda}")
        )
    else:
        rows.append(("torch", torch["reason"]))
    others = (
        f"{name} {version or 'missing'}" for name, version in found["packages"].items() if name != "torch"
    )
    rows.append(("packages", ", ".join(others)))
    rows.append(
        ("back end", f"{backend['name'] or 'none'} on {backend['device'] or 'nothing'}: {backend['reason']}")
    )
    for name, candidate in backend.get("candidates", {}).items():
        rows.append((f"  {name}", ("" if candidate["available"] else "not here: ") + candidate["reason"]))
    if "table" in backend:
        rows.append(("  measured", backend["table"]))
    return rows


def doctor_cli(
    as_json: JsonOption = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Measure the back ends on this machine first, and keep the result.")
    ] = False,
    size: Annotated[
        int, typer.Option("--tune-size", help="Pixels of the generator whose layers are measured.")
    ] = 64,
) -> None:
    """Say in one screen which versions are installed, what the CPU and GPU can do, and which back end runs.

    Example: [bold]flexpose doctor --json[/]
    """
    from flexpose.doctor import diagnose

    if tune:
        from flexpose.ops.measure import tune as measure

        for line in measure(size):
            say(line)
    found = diagnose()
    if as_json:
        print_json(found)
        return
    print_table("flexpose doctor", ["what", "found"], _rows(found))
    for problem in found["problems"]:
        say(f"problem: {problem}")
    if not found["problems"]:
        say("no problem found")
