"""The search attributes of all lifecycles; never an address, a name or an amount."""

from temporalio.common import SearchAttributeKey

ACCOUNT_ID = SearchAttributeKey.for_keyword("AccountId")
LIFECYCLE_STATE = SearchAttributeKey.for_keyword("LifecycleState")
INVITEE_KEY = SearchAttributeKey.for_keyword("InviteeKey")
BLOCKERS = SearchAttributeKey.for_keyword_list("Blockers")
DEADLINE = SearchAttributeKey.for_datetime("Deadline")
QUIET_SINCE = SearchAttributeKey.for_datetime("QuietSince")

ALL = (ACCOUNT_ID, LIFECYCLE_STATE, INVITEE_KEY, BLOCKERS, DEADLINE, QUIET_SINCE)
