"""`flexpose skeletons`: what skeletons there are, and what is in one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ._options import JsonOption
from ._output import print_json, print_table, stdout

__all__ = ["app"]

app = typer.Typer(invoke_without_command=True, help="List the skeletons that flexpose knows, or show one.")


def _summary(skeleton: Any) -> dict[str, Any]:
    return {
        "name": skeleton.name,
        "keypoints": skeleton.num_keypoints,
        "bones": len(skeleton.bones),
        "description": skeleton.description,
    }


@app.callback(invoke_without_command=True)
def list_cli(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List the skeletons that flexpose knows.

    Example: [bold]flexpose skeletons[/]
    """
    if ctx.invoked_subcommand is not None:
        return
    from flexpose.skeleton import list_skeletons, load_skeleton

    rows = [_summary(load_skeleton(name)) for name in list_skeletons()]
    if as_json:
        print_json(rows)
    else:
        print_table("Skeletons", ["name", "keypoints", "bones", "what"], [list(row.values()) for row in rows])


@app.command("show")
def show_cli(
    skeleton: Annotated[str, typer.Argument(help="Name of a skeleton, or path of a TOML file.")],
    as_json: JsonOption = False,
    toml: Annotated[bool, typer.Option("--toml", help="Print the definition, ready to be edited.")] = False,
) -> None:
    """Show the joints, bones, mirror pairs, tolerances and colours of one skeleton.

    Example: [bold]flexpose skeletons show body13[/]
    """
    from flexpose.skeleton import load_skeleton

    chosen = load_skeleton(skeleton)
    if toml:
        typer.echo(chosen.to_toml(), nl=False)
        return
    if as_json:
        about = _summary(chosen) | {
            "names": chosen.names,
            "bones": chosen.bones,
            "flip_pairs": chosen.flip_pairs,
            "sigmas": chosen.sigmas,
            "root": chosen.root,
            "torso": chosen.torso,
            "palette_seed": chosen.palette_seed,
            "bone_colors": chosen.bone_colors,
            "joint_colors": chosen.joint_colors,
            "fingerprint": chosen.fingerprint,
        }
        print_json(about)
        return
    mirror = chosen.flip_index
    print_table(
        f"{chosen.name}: joints",
        ["index", "name", "mirrored", "sigma", "colour"],
        [
            [
                index,
                name,
                chosen.names[mirror[index]],
                f"{chosen.sigmas[index]:.3f}",
                _hex(chosen.joint_colors[index]),
            ]
            for index, name in enumerate(chosen.names)
        ],
    )
    print_table(
        f"{chosen.name}: bones, in drawing order",
        ["index", "from", "to", "colour"],
        [
            [index, chosen.names[parent], chosen.names[child], _hex(chosen.bone_colors[index])]
            for index, (parent, child) in enumerate(chosen.bones)
        ],
    )
    stdout().print(f"fingerprint {chosen.fingerprint}", markup=False)


def _hex(color: Any) -> str:
    return "#" + "".join(f"{int(channel):02x}" for channel in color)
