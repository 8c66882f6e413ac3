"""Sign-in by an OpenID Connect provider: the authorization code flow with PKCE."""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from domain.address import normalized
from domain.error import ErrorCode, Refused, Unavailable
from domain.model import Value
from domain.text import one_line

CONFIGURATION: Final = "/.well-known/openid-configuration"
TIMEOUT_SECONDS: Final = 10.0
CLOCK_DIFFERENCE_SECONDS: Final = 60

SIGNATURES: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""The algorithms of ID tokens: signed by the provider's private key, never by a shared secret."""


class OidcStarted(Value):
    """A sign-in that has begun; the browser keeps it until the provider sends the person back."""

    state: str
    nonce: str
    verifier: str
    next: str | None = None
    """The path that is opened after signing in, if one was."""


@dataclass(frozen=True)
class OidcProvider:
    """A provider of identities. Its metadata and keys are read for each sign-in."""

    issuer: str
    client_id: str
    client_secret: str
    redirect_uri: str

    async def start(self, next: str | None) -> tuple[str, OidcStarted]:
        """Return the provider's address for a new sign-in. Raises Unavailable."""
        started = OidcStarted(
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            next=next,
        )
        async with self._client() as client:
            metadata = await self._metadata(client)
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=started.state,
                nonce=started.nonce,
                code_verifier=started.verifier,
            )
        return str(url), started

    async def finish(self, started: OidcStarted, returned: Mapping[str, str]) -> str:
        """Return the verified, normalized address of the person who was sent back.

        `returned` are the parameters of the callback. Raises Unavailable;
        `Refused(not_authorized)` when the provider, a signature or the address does not verify.
        """
        if not hmac.compare_digest(returned.get("state", "").encode(), started.state.encode()):
            raise _refused("the state is not the one of this browser")
        if "code" not in returned:
            answer = one_line(returned.get("error", "nothing"))[:40]
            raise _refused(f"the provider answered {answer}")
        async with self._client() as client:
            metadata = await self._metadata(client)
            # RFC 9207: the answer of another provider is not taken for this one's.
            if returned.get("iss", self.issuer).rstrip("/") != self.issuer.rstrip("/"):
                raise _refused("another provider answered")
            try:
                token = await self._token(client, metadata, started, returned["code"])
                claims = await self._claims(client, metadata, started, token)
            except (OAuthError, JoseError, KeyError, TypeError, ValueError) as failure:
                raise _refused(f"{type(failure).__name__}") from failure
        return _address(claims)

    def _client(self) -> Any:
        return AsyncOAuth2Client(
            self.client_id,
            self.client_secret,
            scope="openid email",
            redirect_uri=self.redirect_uri,
            code_challenge_method="S256",
            timeout=TIMEOUT_SECONDS,
        )

    async def _metadata(self, client: Any) -> dict[str, Any]:
        metadata = await _read(client, f"{self.issuer.rstrip('/')}{CONFIGURATION}")
        if str(metadata.get("issuer", "")).rstrip("/") != self.issuer.rstrip("/"):
            raise Unavailable("The identity provider names another issuer.")
        return metadata

    async def _token(
        self, client: Any, metadata: Mapping[str, Any], started: OidcStarted, code: str
    ) -> dict[str, Any]:
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if "client_secret_basic" not in methods:
            client.token_endpoint_auth_method = "client_secret_post"
        try:
            token = await client.fetch_token(
                metadata["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                code_verifier=started.verifier,
                redirect_uri=self.redirect_uri,
            )
        except httpx2.HTTPError as failure:
            raise _unavailable(failure) from failure
        return dict(token)

    async def _claims(
        self,
        client: Any,
        metadata: Mapping[str, Any],
        started: OidcStarted,
        token: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the claims of the ID token, and those that only the user info has."""
        keys = KeySet.import_key_set(await _read(client, metadata["jwks_uri"]))  # type: ignore[arg-type]
        offered = metadata.get("id_token_signing_alg_values_supported", ["RS256"])
        decoded = jwt.decode(token["id_token"], keys, algorithms=SIGNATURES.intersection(offered))
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {
                "iss": {"essential": True, "value": metadata["issuer"]},
                "aud": {"essential": True, "value": self.client_id},
            },
            {"nonce": started.nonce, "client_id": self.client_id},
        )
        claims.validate(leeway=CLOCK_DIFFERENCE_SECONDS)
        if "email" in claims or "userinfo_endpoint" not in metadata:
            return dict(claims)
        found = await _read(client, metadata["userinfo_endpoint"], withhold_token=False)
        if found.get("sub") != claims["sub"]:
            raise _refused("the user info is about another person")
        return {**found, **claims}


async def _read(client: Any, url: str, *, withhold_token: bool = True) -> dict[str, Any]:
    """Return a JSON object of the provider. Raises Unavailable."""
    try:
        response = await client.request("GET", url, withhold_token=withhold_token)
        response.raise_for_status()
        found = response.json()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as failure:
        raise _unavailable(failure) from failure
    if not isinstance(found, dict):
        raise Unavailable("The identity provider did not answer with an object.")
    return found


def _address(claims: Mapping[str, Any]) -> str:
    if claims.get("email_verified", True) not in (True, "true"):
        raise _refused("the address is not verified")
    try:
        return normalized(str(claims.get("email", "")))
    except Refused:
        raise _refused("the provider named no address") from None


def _refused(reason: str) -> Refused:
    return Refused(ErrorCode.NOT_AUTHORIZED, f"The sign-in failed: {reason}.")


def _unavailable(failure: Exception) -> Unavailable:
    return Unavailable(f"The identity provider does not answer: {type(failure).__name__}")
