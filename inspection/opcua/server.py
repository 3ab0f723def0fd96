"""asyncua's server with what it leaves open closed: trust, users, limits, and who calls a method.

asyncua checks the certificate that a client names in CreateSession, not the one that its channel is secured with, and serves
channels without security although no such endpoint is offered (clients read endpoints through them). Both are caught where a
session is activated: that gate alone decides, and sees the channel's own certificate.
"""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from typing import Any

from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession, SessionState

from inspection.config import OpcUaConfig
from inspection.opcua.security import Identity, Trust, Users

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
MAX_SESSIONS = 64
MAX_SUBSCRIPTIONS = 64
_MAX_MESSAGE_BYTES = 2**20
_ACTIVATION_S = 15.0

POLICIES = [
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
]

caller: ContextVar[str | None] = ContextVar("caller", default=None)
"""The user whose method call is being served; None: anonymous."""
address: ContextVar[str] = ContextVar("address", default="")
"""From where that user connected."""


class Gate:
    """Decides about each session when it is activated, with the certificate that secures its channel."""

    def __init__(self, settings: OpcUaConfig, trust: Trust, users: Users) -> None:
        self._settings = settings
        self._trust = trust
        self._users = users

    def check_certificate(self, der: bytes | None) -> None:
        """ServiceError unless a client with this certificate may connect."""
        if not der and self._settings.allow_unencrypted:
            return
        problem = self._trust.why_not(der)
        if problem is None:
            return
        log.warning("a client was refused: %s", problem)
        raise ServiceError(ua.StatusCodes.BadCertificateUntrusted if der else ua.StatusCodes.BadSecurityPolicyRejected)

    def get_user(
        self, iserver: InternalServer, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        """The user of a session, as asyncua asks for it; None: refused."""
        self.check_certificate(certificate)
        if username is None:
            return User(UserRole.User) if self._settings.allow_anonymous else None
        if not self._users.right(username, password or ""):
            log.warning("user %r was refused: unknown name or wrong password", username)
            return None
        log.info("user %r is connected", username)
        return User(UserRole.User, username)


class _Session(InternalSession):
    async def create_session(
        self, params: ua.CreateSessionParameters, sockname: tuple[str, int] | None = None
    ) -> ua.CreateSessionResult:
        assert isinstance(self.iserver, _InternalServer)
        # The channel's own certificate is checked when the session is activated; this is for an early and clear answer.
        self.iserver.gate.check_certificate(params.ClientCertificate)
        return await super().create_session(params, sockname)

    async def call(self, params: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        caller.set(self.user.name)
        peer: Any = self.name  # of a connection, as its socket tells it
        address.set(peer[0] if isinstance(peer, tuple) else "")
        return await super().call(params)


class _InternalServer(InternalServer):
    def __init__(self, gate: Gate) -> None:
        super().__init__(user_manager=gate)  # type: ignore[arg-type]  # asyncua's class is an interface
        self.gate = gate
        self.allow_remote_admin = False
        self.max_connections = MAX_CONNECTIONS
        self.max_subscriptions = MAX_SUBSCRIPTIONS
        self.max_pending_activation_seconds = _ACTIVATION_S
        self.max_unacked_messages_per_subscription = 1_000

    def create_session(self, name: str, user: User | None = None, external: bool = False) -> InternalSession:
        self._forget_abandoned()
        if len(self._external_sessions) >= MAX_SESSIONS:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        return _Session(self, self.aspace, self.subscription_service, name, user=user or User(), external=external)

    def _forget_abandoned(self) -> None:
        """Sessions that were created and never activated; a connection may create any number of them."""
        now = time.monotonic()
        for token, session in list(self._external_sessions.items()):
            if session.state is SessionState.Created and now - session._last_activity > _ACTIVATION_S:
                del self._external_sessions[token]

    def register_server(self, server: Any, conf: Any = None) -> None:
        """This is no discovery server; asyncua would take entries from anybody, without a session."""
        raise ServiceError(ua.StatusCodes.BadServiceUnsupported)


class _Protocol(OPCUAProtocol):
    def data_received(self, data: bytes) -> None:
        # asyncua waits for as many bytes as the first header promises, up to 4 GiB, before it looks at its limits.
        if len(self._buffer) + len(data) > 2 * _MAX_MESSAGE_BYTES:
            log.warning("connection of %s closed: it sent %d bytes that are no message", self.peer_name, len(self._buffer))
            self._buffer = b""
            if self.transport is not None:
                self.transport.close()
            return
        super().data_received(data)


class _BinaryServer(BinaryServer):
    def _make_protocol(self) -> OPCUAProtocol:
        return _Protocol(self.iserver, self._policies, self.clients, self.closing_tasks, self.limits)


class StationServer(Server):
    """Offers SignAndEncrypt with the three current policies; no security and no user only if the configuration says so."""

    def __init__(self, settings: OpcUaConfig, identity: Identity, gate: Gate) -> None:
        super().__init__(iserver=_InternalServer(gate))
        self._identity = identity
        self.set_endpoint(f"opc.tcp://{settings.host}:{settings.port}")
        self.set_server_name("inspection station")
        self.manufacturer_name = ""
        self.product_uri = "urn:inspection-station"
        self.application_type = ua.ApplicationType.Server
        unencrypted = [ua.SecurityPolicyType.NoSecurity] if settings.allow_unencrypted else []
        self.set_security_policy([*POLICIES, *unencrypted])
        anonymous = [ua.AnonymousIdentityToken] if settings.allow_anonymous else []
        self.set_identity_tokens([ua.UserNameIdentityToken, *anonymous])
        self.limits.max_message_size = _MAX_MESSAGE_BYTES
        self.limits.max_chunk_count = _MAX_MESSAGE_BYTES // self.limits.max_recv_buffer + 1

    async def prepare(self) -> None:
        """Load the standard address space; seconds."""
        await self.init()
        await self.set_application_uri(self._identity.uri)
        await self.load_certificate(self._identity.certificate)
        await self.load_private_key(self._identity.key, format="pem")

    async def start(self) -> None:
        """Listen; asyncua's own would take connections without the limit on what they send."""
        await self._setup_server_nodes()
        await self.iserver.start()
        try:
            self.bserver = _BinaryServer(self.iserver, str(self.endpoint.hostname), int(self.endpoint.port or 0), self.limits)
            self.bserver.set_policies(self._policies)
            await self.bserver.start()
        except OSError:
            await self.iserver.stop()
            raise
