"""What is asked of a memory. Tasks make tokens and targets and know nothing of models."""

from callosal.tasks.episodes import Domain, EpisodeConfig, Episodes, Split, sample_episodes

__all__ = ["Domain", "EpisodeConfig", "Episodes", "Split", "sample_episodes"]
