"""What memories are tested on. Tasks make tokens and targets and know nothing of models."""

from callosal.lab.tasks.episodes import EpisodeConfig, Episodes, Split, sample_episodes

__all__ = ["EpisodeConfig", "Episodes", "Split", "sample_episodes"]
