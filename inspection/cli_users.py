"""``station user`` and ``station audit``: people who log in, also from a machine without a screen, and what was done."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from inspection.cli_options import OPERATOR, ByOption, ConfigOption, command, reading, run_or_explain, writing
from inspection.domain import Role
from inspection.errors import StationError
from inspection.figures import show

user_app = typer.Typer(help="People who log in to the pages.", no_args_is_help=True)
audit_app = typer.Typer(help="What people and programs did or were refused.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The name to log in with.")]
_THEN = ", and changes the password at the next login"


@user_app.command("create")
def create(
    name: Name,
    config: ConfigOption,
    role: Annotated[Role, typer.Option(help="What the user may do; the first one is the administrator.")],
    by: ByOption = OPERATOR,
) -> None:
    """Make a user. The password is asked for, or is the first line of the standard input; all but the first user change it at
    their first login.
    """
    from inspection.passwords import Passwords
    from inspection.records.users import any_user, create_user

    def action() -> None:
        kept = Passwords().hashed(_password(name))
        with writing(config, command(by, "user create", f"user {name}", role=role)) as (_, connection):
            if role is not Role.ADMIN and not any_user(connection):
                raise StationError("the first user of a station is its administrator: --role admin")
            # The first one chose it; all others get to know it from somebody.
            made = create_user(connection, name, role, kept, by, must_change_password=any_user(connection))
        typer.echo(f"{name} can log in as {role}{_THEN if made.must_change_password else ''}")

    run_or_explain(action)


@user_app.command("list")
def users(config: ConfigOption) -> None:
    """Who may log in, as what, and who is locked or disabled."""
    from inspection.records.users import list_users

    def action() -> None:
        with reading(config) as (_, connection):
            found = list_users(connection)
        now = datetime.now(UTC)
        rows = []
        for each in found:
            locked = each.locked_until is not None and each.locked_until > now
            state = f"disabled {each.disabled_at:%F %T}" if each.disabled_at else f"locked until {each.locked_until:%F %T}"
            rows.append(
                (each.user, each.role, f"{each.created_at:%F %T}", each.created_by, state if each.disabled_at or locked else "")
            )
        show([("user", "role", "created", "by", ""), *rows])

    run_or_explain(action)


@user_app.command("password")
def password(name: Name, config: ConfigOption, by: ByOption = OPERATOR) -> None:
    """Give a user another password, to be changed at the next login; asked for, or the first line of the standard input. A locked
    user may log in at once.
    """
    from inspection.passwords import Passwords
    from inspection.records.users import get_user, set_password

    def action() -> None:
        with reading(config) as (_, connection):
            get_user(connection, name)
        kept = Passwords().hashed(_password(name))
        with writing(config, command(by, "user password", f"user {name}")) as (_, connection):
            changed = set_password(connection, name, kept, must_change_password=True)
        typer.echo(f"{name} has another password{_THEN if changed.must_change_password else ''}; all sessions of {name} ended")

    run_or_explain(action)


@user_app.command("disable")
def disable(name: Name, config: ConfigOption, by: ByOption = OPERATOR) -> None:
    """Let a user log in no more; all sessions end."""
    from inspection.records.users import disable_user

    def action() -> None:
        with writing(config, command(by, "user disable", f"user {name}")) as (_, connection):
            disable_user(connection, name, datetime.now(UTC))
        typer.echo(f"{name} cannot log in any more")

    run_or_explain(action)


@user_app.command("enable")
def enable(name: Name, config: ConfigOption, by: ByOption = OPERATOR) -> None:
    """Let a disabled or locked user log in again."""
    from inspection.records.users import enable_user

    def action() -> None:
        with writing(config, command(by, "user enable", f"user {name}")) as (_, connection):
            enable_user(connection, name)
        typer.echo(f"{name} may log in again")

    run_or_explain(action)


@audit_app.command("verify")
def verify_chain(
    config: ConfigOption,
    against: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A copy of audit.head that was kept elsewhere; may be repeated.")
    ] = None,
) -> None:
    """Walk the chain of entries; ends with 1 at the first one that does not fit, or if some are missing at the end.

    Whoever may write all files of the station can make the chain anew, and is found out by --against alone.
    """
    from inspection.records.audit import HEAD, read_head, verify

    def action() -> None:
        anchors = {}
        for copy in against or ():
            kept = read_head(copy)
            if kept is None:
                raise StationError(
                    f"{copy} is no copy of {HEAD}: a number and a digest; the log tells both of an entry of every hundred"
                )
            anchors[kept[0]] = kept[1]
        with reading(config) as (loaded, connection):
            found = verify(connection, loaded.data_dir / HEAD, anchors=anchors)
        if found.problem is not None:
            raise StationError(f"the audit trail does not fit from entry {found.first_wrong} on: {found.problem}")
        typer.echo(f"{found.entries} entries fit, up to number {found.last}")

    run_or_explain(action)


def _password(user: str) -> str:
    """From a person, twice; from a program, the first line of what it sends. StationError if it is not good enough."""
    from inspection.passwords import check_password

    if sys.stdin.isatty():
        typed: str = typer.prompt(f"Password of {user}", hide_input=True, confirmation_prompt=True)
    else:
        typed = sys.stdin.readline().rstrip("\r\n")
    check_password(user, typed)
    return typed
