"""Settings: where we run. Read once from TESTSTRIP_* in the environment; no secrets are kept."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Folders and defaults of this machine.

    `home` holds studies, the default MLflow store and nothing else. The tracking server is
    MLflow's own MLFLOW_TRACKING_URI.
    """

    model_config = SettingsConfigDict(env_prefix="TESTSTRIP_", frozen=True, extra="ignore")

    home: Path = Path("teststrip-data")
    device: str = "auto"
    max_rows: int = Field(default=24, ge=2, le=512)

    @property
    def studies(self) -> Path:
        """Folder with one folder per study."""
        return self.home / "studies"
