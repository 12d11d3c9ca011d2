"""``subscriptions/listen`` (2026-07-28): a request whose answer is a stream of what changes.

Source: MCP specification 2026-07-28, basic/patterns/subscriptions; tasks extension, "Task Status Notifications".
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol, cast

import mcp_types as types
import structlog
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY, event_to_notification

from mogplex_mcp.api import MogplexError
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.changes import TaskChanged
from mogplex_mcp.tools.subscriptions import MAX_URIS, Notice, Subscription, Subscriptions, TooManySubscriptionsError
from mogplex_mcp.tools.tasks import require_tasks

STUCK_SECONDS = 60.0
"""A client that takes nothing for so long is gone."""

Context = ServerRequestContext[dict[str, Any], Any]

_log = structlog.stdlib.get_logger(__name__)


class TaskSubscriptions(Protocol):
    """Tasks whose states can be listened for."""

    def watching(self, call: Call, task_ids: Sequence[str]) -> AbstractAsyncContextManager[Sequence[str]]:
        """Keep these tasks' states live while inside; yields those that the caller may see."""


@dataclass(frozen=True)
class Asked:
    """What a client wants to hear of."""

    list_changed: bool
    uris: tuple[str, ...]
    task_ids: tuple[str, ...]


async def listen(
    ctx: Context,
    asked: Asked,
    call: Call,
    *,
    subscriptions: Subscriptions,
    tasks: TaskSubscriptions,
    seconds: float,
) -> types.SubscriptionsListenResult:
    """Acknowledge what will be told, then tell it until the client leaves or this server stops.

    A run that the caller cannot read is left out of the acknowledgement, like one that never was; so are lists that
    never change here (tools, prompts) and resources of which no changes are told.

    Args:
        ctx: The request.
        asked: What it asks for.
        call: Who asks.
        subscriptions: The open ones.
        tasks: The tasks that can be listened for.
        seconds: How long the acknowledgement waits for runs to be read; those that take longer are left out.

    Raises:
        MCPError: There is no room.
    """
    meta = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
    try:
        async with AsyncExitStack() as stack:
            subscription = stack.enter_context(subscriptions.open(call))
            subscription.list_changed = asked.list_changed
            uris = await _honoured(subscription, asked.uris, seconds)
            if asked.task_ids:
                # Set before: what is told from the first moment on waits until it was acknowledged.
                subscription.task_ids = frozenset(asked.task_ids)
                watched = await stack.enter_async_context(tasks.watching(call, asked.task_ids))
                subscription.task_ids = frozenset(watched)
            await _acknowledge(ctx, meta, asked, uris, subscription)
            await _tell(ctx, meta, subscription)
    except TooManySubscriptionsError:
        raise MCPError(types.INTERNAL_ERROR, "Too many open subscriptions: close some, then ask again.") from None
    return types.SubscriptionsListenResult(_meta=meta)


def read_filter(ctx: Context, wanted: types.SubscriptionFilter) -> Asked:
    """What a client wants to hear of, each thing once.

    Args:
        ctx: The request.
        wanted: As the client sent it.

    Raises:
        MCPError: Too much at once, or tasks by a client that does not declare the extension.
    """
    task_ids = (wanted.model_extra or {}).get("taskIds")
    if task_ids is not None and not (isinstance(task_ids, list) and all(isinstance(each, str) for each in task_ids)):
        raise MCPError(types.INVALID_PARAMS, "notifications.taskIds must be a list of strings.")
    uris = tuple(dict.fromkeys(wanted.resource_subscriptions or ()))
    ids = tuple(dict.fromkeys(cast("list[str]", task_ids or [])))
    if len(uris) > MAX_URIS or len(ids) > MAX_URIS:
        raise MCPError(types.INVALID_PARAMS, f"At most {MAX_URIS} resources and {MAX_URIS} tasks in one subscription.")
    if ids:
        require_tasks(ctx)
    return Asked(wanted.resources_list_changed is True, uris, ids)


async def _honoured(subscription: Subscription, uris: Sequence[str], seconds: float) -> list[str]:
    """Those of the URIs whose changes will be told."""

    async def want(uri: str) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await subscription.want(uri)
        except (MogplexError, TimeoutError):
            return False

    told = await asyncio.gather(*(want(uri) for uri in uris))
    return [uri for uri, wanted in zip(uris, told, strict=True) if wanted]


async def _acknowledge(
    ctx: Context, meta: dict[str, Any], asked: Asked, uris: list[str], subscription: Subscription
) -> None:
    honoured: dict[str, Any] = {
        **({"resourcesListChanged": True} if asked.list_changed else {}),
        **({"resourceSubscriptions": uris} if uris else {}),
        **({"taskIds": [each for each in asked.task_ids if each in subscription.task_ids]} if asked.task_ids else {}),
    }
    params = types.SubscriptionsAcknowledgedNotificationParams(
        notifications=types.SubscriptionFilter.model_validate(honoured), _meta=meta
    )
    acknowledgement = types.SubscriptionsAcknowledgedNotification(params=params)
    await ctx.session.send_notification(acknowledgement, related_request_id=ctx.request_id)


async def _tell(ctx: Context, meta: dict[str, Any], subscription: Subscription) -> None:
    """Until it is over, until what was acknowledged cannot be kept, or until the client takes nothing any more."""
    try:
        while notices := await subscription.news():
            async with asyncio.timeout(STUCK_SECONDS):
                for notice in notices:
                    await ctx.session.send_notification(_notification(notice, meta), related_request_id=ctx.request_id)
            if subscription.broken:
                return
    except TimeoutError:
        _log.info("listener_stuck")


def _notification(notice: Notice, meta: dict[str, Any]) -> types.ServerNotification:
    if isinstance(notice, TaskChanged):
        params = {**notice.task, "_meta": {**notice.task.get("_meta", {}), **meta}}
        # The SDK's union has the core protocol's only; this one is the extension's.
        return cast(
            "types.ServerNotification",
            types.Notification[dict[str, Any], str](method="notifications/tasks", params=params),
        )
    return event_to_notification(notice, meta)
