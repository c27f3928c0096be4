"""Watching folders and streams: what arrives is added to a gallery, and matches are reported."""

from vireid.watching.watcher import Watch, Watcher, WatchOptions
from vireid.watching.webhook import Webhook, sign

__all__ = ["Watch", "WatchOptions", "Watcher", "Webhook", "sign"]
