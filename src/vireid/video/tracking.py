"""Tracklets: the boxes of one person in successive frames of one camera.

ByteTrack (Zhang et al., ECCV 2022) as implemented by the library ``trackers`` (Roboflow,
Apache-2.0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vireid.optional_packages import package

__all__ = ["SURE", "Tracker"]

SURE = 0.4
"""The score from which a box starts a tracklet."""


class Tracker:
    """Gives the boxes of successive frames the numbers of their tracklets.

    Args:
        fps: Frames a second that it gets.
    """

    _KEPT = 1.0  # seconds that a person may be hidden; after longer ones more people are mixed up

    def __init__(self, fps: float) -> None:
        trackers = package("trackers", extra="video")
        self._detections = package("supervision", extra="video").Detections
        self._tracker: Any = trackers.ByteTrackTracker(
            # The library counts in frames of 30 a second.
            lost_track_buffer=round(30 * self._KEPT),
            frame_rate=fps,
            track_activation_threshold=SURE,
            high_conf_det_threshold=0.3,
            minimum_consecutive_frames=2,
            # At 5 frames/s a person's boxes may hardly overlap; the distance then decides. Below
            # this least value more boxes of other people than of the same one would be taken.
            iou=trackers.DIoU(),
            minimum_iou_threshold=0.3,
        )

    def update(self, boxes: NDArray[np.float32], seconds: float) -> NDArray[np.int64]:
        """Take the boxes of the next frame.

        Args:
            boxes: float32 ``[n, 5]``, as :meth:`~vireid.video.detectors.Detector.boxes`.
            seconds: The frame's time, later than that of the frame before.

        Returns:
            The tracklet of each box, from 0, int64 ``[n]``; -1 for a box that is in none, as in
            the first frame of a tracklet.
        """
        detections = self._detections(
            xyxy=boxes[:, :4], confidence=boxes[:, 4], data={"row": np.arange(len(boxes))}
        )
        tracked = self._tracker.update(detections, timestamp=seconds)
        ids = np.full(len(boxes), -1, dtype=np.int64)
        if len(tracked):
            ids[tracked.data["row"]] = tracked.tracker_id
        return ids

    @property
    def alive(self) -> set[int]:
        """The tracklets that may go on."""
        return {track.tracker_id for track in self._tracker.tracks}
