"""People in videos, frames, images of scenes and streams: detection, tracking, best crops."""

from vireid.video.detectors import Detector, NanoDet, load_detector
from vireid.video.frames import Frame, FrameFolder, SceneImage, Source, Stream, VideoFile
from vireid.video.people import DetectOptions, People, detect_people
from vireid.video.tracking import Tracker

__all__ = [
    "DetectOptions",
    "Detector",
    "Frame",
    "FrameFolder",
    "NanoDet",
    "People",
    "SceneImage",
    "Source",
    "Stream",
    "Tracker",
    "VideoFile",
    "detect_people",
    "load_detector",
]
