"""What the Hub and its cache know of a model's name, apart from the files that transformers loads."""

from __future__ import annotations

from pathlib import Path

PATIENCE = 5.0
"""Seconds to wait for a connection, and then for an answer."""


def why_unreachable(name: str) -> str:
    """Why the Hub cannot be asked for a model; empty where it answers, even if it has no such model.

    It is asked once. Its client tries six times to get a file, in case a transfer breaks off: for a wrong name on a
    machine without network that would be half a minute of waiting.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        huggingface_hub.HfApi().model_info(name, timeout=PATIENCE)
    except (HfHubHTTPError, ValueError):  # it answered, or the name is invalid: loading will say so
        return ""
    except OfflineModeIsEnabled:
        return "offline mode is on (HF_HUB_OFFLINE)"
    except Exception as error:  # the client raises errors of its HTTP library, which differ between its versions
        return f"{type(error).__name__}: {error}"
    return ""


def cached_commit(name: str, revision: str | None = None) -> str:
    """The commit of a model whose files are in the cache; empty where none are.

    Read from the path in the cache, since a configuration no longer has it (transformers 5.24).
    """
    from huggingface_hub import try_to_load_from_cache

    try:
        path = try_to_load_from_cache(name, "config.json", revision=revision)
    except ValueError:  # not a name of a Hub model
        return ""
    return Path(path).parent.name if isinstance(path, str) else ""
