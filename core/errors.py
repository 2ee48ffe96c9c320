"""Every error that a user can meet.

    ParleyError
    ├── SettingsError           a setting does not parse, or a PARLEY_* name is unknown
    ├── StorageError            the disk is full, read-only, or the database is damaged
    ├── NotFound                no such conversation, message, file or prompt
    ├── BadRequest              the request makes no sense, whoever receives it
    │   └── ContextTooLong      the messages do not fit the model's context window
    ├── AuthenticationFailed    no key, or a wrong one
    ├── PermissionDenied        the key is right but may not do this
    ├── ModelNotFound           no provider has a model of this name
    ├── RateLimited             too many requests; `retry_after` says how long to wait
    ├── BudgetExceeded          the account's or the user's own limit is used up
    ├── Refused                 the model declined to answer
    ├── ProviderUnavailable     refused connection, 502/503/504, overloaded, or the circuit is open
    │   └── ModelUnavailable    the provider answers, but this model fails: a 500, a file that cannot be loaded
    │       └── Unreadable      what came is no answer, or the model's file no model: no use to try again
    ├── Interrupted             the stream broke off after it had begun
    └── TimedOut                nothing came in time
        └── ProviderTimedOut    not even a connection, or a gateway before the provider gave up

Each says what happened (`what`) and what to do (`fix`); both are shown to people, so neither
ever holds a key, a path of the server's or a stack trace.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Blame = Literal["nobody", "model", "provider"]


class ParleyError(Exception):
    """What every error here has: `code` for programs, `status` for HTTP, `what` and `fix` for people.

    `blames` says whose fault it is, for the one who decides whom to leave alone (core.gateway.breaker).
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    blames: ClassVar[Blame] = "nobody"
    default_fix: ClassVar[str] = "Try again; if it happens again, look at the server's log."

    def __init__(self, what: str, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.fix = self.default_fix if fix is None else fix

    def __str__(self) -> str:
        return f"{self.what} {self.fix}".strip()


class SettingsError(ParleyError):
    """A setting is unknown or does not parse. Stops the start."""

    code = "settings"
    default_fix = "docs/settings.md lists every setting."


class StorageError(ParleyError):
    """Something could not be saved or read. The chat goes on and says that it cannot save."""

    code = "storage"
    status = 507
    default_fix = "Make room on the disk or make the data folder writable, then try again."


class NotFound(ParleyError):
    """The thing asked for does not exist, or belongs to somebody else."""

    code = "not_found"
    status = 404
    default_fix = "It may have been deleted. Reload the page."


class BadRequest(ParleyError):
    """The request is malformed, or asks for something that the model cannot do."""

    code = "bad_request"
    status = 400
    default_fix = "Change the request and send it again."


class ContextTooLong(BadRequest):
    """The messages do not fit. `what` gives both token counts where they are known."""

    code = "context_too_long"
    default_fix = "Shorten the message, start a new conversation, or choose a model with a larger context."


class AuthenticationFailed(ParleyError):
    """No key, or one that the provider does not accept."""

    code = "authentication"
    status = 401
    default_fix = "Check the key in Settings or in the environment."


class PermissionDenied(ParleyError):
    """The key is valid but not allowed to use this model or feature."""

    code = "permission"
    status = 403
    default_fix = "Choose another model, or ask the owner of the account for access."


class ModelNotFound(ParleyError):
    """No provider has a model of this name."""

    code = "model_not_found"
    status = 404
    default_fix = "Pick a model from the list."


class RateLimited(ParleyError):
    """Too many requests or tokens. `retry_after` is in seconds, None when the provider gave none."""

    code = "rate_limited"
    status = 429
    retryable = True
    default_fix = "Wait a little and try again, or choose another model."

    def __init__(self, what: str, fix: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(what, fix)
        self.retry_after = retry_after


class BudgetExceeded(ParleyError):
    """The account has no credit left, or a limit set in Parley is used up. Never retried."""

    code = "budget_exceeded"
    status = 402
    default_fix = "Add credit with the provider, or raise the limit."


class Refused(ParleyError):
    """The model or the provider's filter declined to answer."""

    code = "refused"
    status = 403
    default_fix = "Put the question differently, or choose another model."


class ProviderUnavailable(ParleyError):
    """The provider cannot be reached or is failing. `retry_after` as in RateLimited."""

    code = "provider_unavailable"
    status = 503
    retryable = True
    blames: ClassVar[Blame] = "provider"
    default_fix = "Try again in a moment, or choose another model."

    def __init__(self, what: str, fix: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(what, fix)
        self.retry_after = retry_after


class ModelUnavailable(ProviderUnavailable):
    """The provider can be reached and this model of it fails; its others may well answer."""

    blames: ClassVar[Blame] = "model"


class Unreadable(ModelUnavailable):
    """What came is no answer, or the model's file no model. It would be the same at the next try, so there is none."""

    retryable = False


class Interrupted(ParleyError):
    """The answer broke off after it had begun. What had arrived is kept."""

    code = "interrupted"
    status = 502
    blames: ClassVar[Blame] = "model"
    default_fix = "The text so far is kept. Continue the answer or try again."


class TimedOut(ParleyError):
    """Nothing arrived within the time limit. Retried only before the first token."""

    code = "timeout"
    status = 504
    retryable = True
    blames: ClassVar[Blame] = "model"
    default_fix = "Try again, or choose a faster model."


class ProviderTimedOut(TimedOut):
    """No connection in time, or a gateway on the way to the provider that gave up."""

    blames: ClassVar[Blame] = "provider"
    default_fix = "Check the network and the address, or choose another model."
