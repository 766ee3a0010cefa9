"""A course of nine lessons: predict, run, reveal; exercises that are checked; progress in a file on this machine."""

from __future__ import annotations

from vdpa_lab.course.desk import check, exercises, hint, predict, progress, questions, reveal, solution

__all__ = ["check", "exercises", "hint", "predict", "progress", "questions", "reveal", "solution"]
