"""What the Hub and its cache say of a model's name, beside what transformers gets from them."""

from __future__ import annotations

from pathlib import Path

PATIENCE = 5.0
"""Seconds to wait for a connection, and then for an answer."""


def why_unreachable(name: str, revision: str | None = None) -> str:
    """Why the Hub cannot be asked for a model; empty where it answers, be it with a no.

    It is asked once. Its client asks six times for a file that it does not get, which is for a transfer that breaks
    off: against a wrong name on a machine without network it is half a minute of waiting.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        huggingface_hub.HfApi().model_info(name, revision=revision, timeout=PATIENCE)
    except (HfHubHTTPError, ValueError):  # it answered, or the name can be none: what follows says so
        return ""
    except OfflineModeIsEnabled:
        return "offline mode is on (HF_HUB_OFFLINE)"
    except Exception as error:  # the client passes on its HTTP library's errors, which differ between its versions
        return f"{type(error).__name__}: {error}"
    return ""


def cached_commit(name: str, revision: str | None = None) -> str:
    """The commit whose files the cache holds of a model; empty where it holds none.

    It is read off the cache, since a configuration no longer carries it (transformers 5.24).
    """
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(name, "config.json", revision=revision)
    except ValueError:  # no name of the Hub's
        return ""
    return Path(found).parent.name if isinstance(found, str) else ""
