"""``station token`` and ``station outbox``: who may use the REST interface, and what receivers have got."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import typer

from inspection import config as configuration
from inspection.cli_options import OPERATOR, ByOption, ConfigOption, audited, command, run_or_explain, writing
from inspection.domain import Scope
from inspection.errors import StationError
from inspection.figures import show
from inspection.mes.receiver import Stream

token_app = typer.Typer(help="Tokens of programs that use the REST interface.", no_args_is_help=True)
outbox_app = typer.Typer(help="What is delivered to receivers.", no_args_is_help=True)
Account = Annotated[str, typer.Argument(help="The program that uses it, such as mes.")]


@token_app.command("create")
def create(
    account: Account,
    config: ConfigOption,
    scopes: Annotated[str, typer.Option(metavar="A,B", help=f"What it opens: some of {', '.join(Scope)}.")] = Scope.READ,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Valid for so long; without, until it is revoked.")] = None,
    by: ByOption = OPERATOR,
) -> None:
    """Make a token and print it, once: only its digest is kept."""

    from inspection.records.tokens import create_token

    def action() -> None:
        try:
            wanted = [Scope(scope.strip()) for scope in scopes.split(",")]
        except ValueError:
            raise StationError(f"--scopes {scopes}: write some of {', '.join(Scope)} with commas between") from None
        expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
        trace = command(by, "token create", f"account {account}", scopes=wanted, expires_at=expires_at)
        with writing(config, trace) as (_, connection):
            token = create_token(connection, account, wanted, by, expires_at)
        typer.echo(token)

    run_or_explain(action)


@token_app.command("revoke")
def revoke(account: Account, config: ConfigOption, by: ByOption = OPERATOR) -> None:
    """Let the token of an account open nothing any more."""

    from inspection.records.tokens import revoke_token

    def action() -> None:
        with writing(config, command(by, "token revoke", f"account {account}")) as (_, connection):
            revoke_token(connection, account)
        typer.echo(f"the token of {account} opens nothing from now on")

    run_or_explain(action)


@token_app.command("list")
def tokens(config: ConfigOption) -> None:
    """Accounts and what their tokens open."""

    from inspection.records.database import read_records
    from inspection.records.tokens import list_tokens

    def action() -> None:
        with read_records(configuration.load(config)) as engine, engine.connect() as connection:
            found = list_tokens(connection)
        head = ("account", "scopes", "created", "by", "valid until")
        rows = [
            (
                *(each.account, ", ".join(each.scopes), f"{each.created_at:%F %T}", each.created_by),
                "revoked" if each.revoked_at else f"{each.expires_at:%F %T}" if each.expires_at else "it is revoked",
            )
            for each in found
        ]
        show([head, *rows])

    run_or_explain(action)


Receiver = Annotated[str, typer.Argument(help="Its name in the configuration.")]


@outbox_app.command("show")
def show_outbox(config: ConfigOption) -> None:
    """How far each receiver is, and what waits for it."""

    from inspection.mes.events import newest
    from inspection.mes.outbox import Positions, positions_path
    from inspection.records.database import read_records

    def action() -> None:
        loaded = configuration.load(config)
        with read_records(loaded) as engine, engine.connect() as connection:
            ends = newest(connection)
        rows = []
        for each in loaded.receivers:
            numbers = Positions(positions_path(loaded.outbox_dir, each.name)).numbers
            rows.append((each.name, *(f"{numbers[stream]} of {ends[stream]}" for stream in Stream)))
        show([("receiver", *(stream.replace("_", " ") for stream in Stream)), *rows])

    run_or_explain(action)


@outbox_app.command()
def replay(
    receiver: Receiver,
    config: ConfigOption,
    after: Annotated[int, typer.Option(min=0, metavar="N", help="Deliver again what comes after this number.")],
    stream: Annotated[Stream, typer.Option(help="Of which stream.")] = Stream.INSPECTIONS,
    by: ByOption = OPERATOR,
) -> None:
    """Deliver again to a receiver; the running outbox takes this up at once, another when it starts."""

    from inspection.mes.outbox import positions_path, replay_path

    def action() -> None:
        loaded = configuration.load(config)
        names = [each.name for each in loaded.receivers]
        if receiver not in names:
            raise StationError(f"no receiver is named {receiver!r}; the configuration names {', '.join(names) or 'none'}")
        request = replay_path(positions_path(loaded.outbox_dir, receiver))
        fresh = request.with_suffix(".asked")
        loaded.outbox_dir.mkdir(parents=True, exist_ok=True)
        with audited(loaded, command(by, "outbox replay", f"receiver {receiver}", stream=stream, after=after)):
            fresh.write_bytes(msgspec.json.encode({stream: after}))
            fresh.replace(request)
        typer.echo(f"{receiver} gets {stream.replace('_', ' ')} again after number {after}")

    run_or_explain(action)
