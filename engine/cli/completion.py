"""`pipeline completion`: the script by which a shell completes commands, topology files and node types."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      eval "$(pipeline completion bash)"                                    # in ~/.bashrc
      eval "$(pipeline completion zsh)"                                     # in ~/.zshrc
      pipeline completion fish > ~/.config/fish/completions/pipeline.fish
    """
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    kind = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    root = ctx.find_root()
    # `source()` of bash asks the installed bash for its version, which need not be the shell that reads this.
    script = kind(root.command, {}, "pipeline", "_PIPELINE_COMPLETE")
    click.echo(script.source_template % script.source_vars())
