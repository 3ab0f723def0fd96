"""``station opcua``: who may connect to the OPC UA server."""

from __future__ import annotations

from typing import Annotated

import typer

from inspection import config as configuration
from inspection.cli_options import OPERATOR, ByOption, ConfigOption, audited, command, run_or_explain
from inspection.errors import ConfigError

app = typer.Typer(help="The OPC UA server: its users.", no_args_is_help=True)
user = typer.Typer(help="Users with passwords.", no_args_is_help=True)
app.add_typer(user, name="user")


@user.command()
def add(
    name: Annotated[str, typer.Argument(help="The name to log in with.")],
    config: ConfigOption,
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, help="Asked for if it is not given.")
    ],
    by: ByOption = OPERATOR,
) -> None:
    """Add a user, or change a password; the server takes it at the next login."""
    from inspection.opcua.security import Users

    def write() -> None:
        loaded = configuration.load(config)
        if loaded.opcua is None:
            raise ConfigError(f"{config} has no [opcua]; add the section, and look into .github/interfaces/opcua.md")
        with audited(loaded, command(by, "opcua user add", f"user {name}")):
            Users(loaded.data_dir / loaded.opcua.users_file).add(name, password)
        typer.echo(f"user {name} may log in")

    run_or_explain(write)
