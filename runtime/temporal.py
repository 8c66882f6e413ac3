"""The connection to Temporal, and the search attributes that a namespace needs."""

import asyncio
import logging
import re
from datetime import timedelta
from functools import cache

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeIndexedValueType
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import RPCError, RPCStatusCode

from clients.workflow_call import temporal_errors_as_unavailable
from domain.error import ErrorCode, Refused, Unavailable
from runtime.codec import data_converter
from runtime.settings import Settings, environment
from workflows import search_attribute

CONNECT_TIMEOUT = timedelta(seconds=5)
"""Less than the ten seconds in which a command must report that Temporal is unreachable."""
REGISTRATION_TIMEOUT = timedelta(seconds=30)
DEFAULT_ADDRESS = "localhost:7233"
DEFAULT_NAMESPACE = "default"
CORE_LOG = logging.getLogger("temporalio.core")
"""The logger of the SDK's core, for long-running processes."""

_INDEXED = {
    SearchAttributeIndexedValueType.KEYWORD: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    SearchAttributeIndexedValueType.KEYWORD_LIST: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    SearchAttributeIndexedValueType.DATETIME: IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
}


def connection() -> ClientConnectConfig:
    """Read the connection settings from the variables and the profile file of Temporal's own CLI.

    Raises `Refused(invalid_input)` when they cannot be read.
    """
    try:
        config = ClientConfig.load_client_connect_config(override_env_vars=dict(environment()))
    except (RuntimeError, OSError) as unreadable:
        raise Refused(
            ErrorCode.INVALID_INPUT, f"The Temporal settings cannot be read: {unreadable}"
        ) from None
    config.setdefault("target_host", DEFAULT_ADDRESS)
    return config


async def connect(
    settings: Settings,
    config: ClientConnectConfig | None = None,
    *,
    core_log: logging.Logger | None = None,
) -> Client:
    """Connect a client with the payload codec of the settings.

    The SDK's core logs to `core_log`; None silences it, for commands.

    Raises Unavailable within seconds, also when the port never answers.
    """
    config = connection() if config is None else config
    address = config["target_host"]
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT.total_seconds()):
            return await _connect(settings, config, core_log)
    except RPCError as failure:
        raise Unavailable(f"Temporal at {address} does not answer: {failure.message}") from failure
    except (TimeoutError, RuntimeError, OSError, ValueError) as failure:
        raise Unavailable(
            f"Temporal is not reachable at {address} (TEMPORAL_ADDRESS): {_reason(failure)}."
        ) from failure


async def _connect(
    settings: Settings, config: ClientConnectConfig, core_log: logging.Logger | None
) -> Client:
    client = await Client.connect(
        **config,
        data_converter=data_converter(
            settings.cipher_keys,
            config.get("namespace", DEFAULT_NAMESPACE),
            accept_plaintext=settings.accept_plaintext,
        ),
        runtime=_runtime(core_log),
    )
    # In a missing namespace every request would fail as for an unknown workflow.
    await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace)
    )
    return client


def _reason(failure: Exception) -> str:
    """Return the cause without the layers of the core that wrap it."""
    if isinstance(failure, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT.total_seconds():.0f} seconds"
    messages = re.findall(r'(?:message|error): "([^"]+)"', str(failure))
    return str(messages[-1] if messages else failure)


async def register_search_attributes(client: Client) -> None:
    """Add the missing search attributes, and wait until they can be used.

    May be repeated. Raises Unavailable; `Refused(conflict)` where one exists with another type.
    """
    with temporal_errors_as_unavailable():
        async with asyncio.timeout(REGISTRATION_TIMEOUT.total_seconds()):
            await _add_missing(client)
            await _wait_until_ready(client)


async def _add_missing(client: Client) -> None:
    required = {key.name: _INDEXED[key.indexed_value_type] for key in search_attribute.ALL}
    registered = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    for name, kind in required.items():
        if registered.custom_attributes.get(name, kind) != kind:
            raise Refused(
                ErrorCode.CONFLICT,
                f"The namespace has a search attribute {name} of another type.",
            )
    missing = {
        name: kind for name, kind in required.items() if name not in registered.custom_attributes
    }
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        )


async def _wait_until_ready(client: Client) -> None:
    """Wait until the server's cache of search attributes has the new ones."""
    query = " AND ".join(f"{key.name} IS NULL" for key in search_attribute.ALL)
    while True:
        try:
            await client.count_workflows(query)
        except RPCError as failure:
            if failure.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            await asyncio.sleep(0.1)
        else:
            return


@cache
def _runtime(core_log: logging.Logger | None) -> Runtime:
    if core_log is None:
        return Runtime(telemetry=TelemetryConfig(logging=None))
    return Runtime(
        telemetry=TelemetryConfig(
            logging=LoggingConfig(
                filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
                forwarding=LogForwardingConfig(logger=core_log),
            )
        )
    )
