from pathlib import Path

from support import weather

from engine import param


class Diary(weather.Diary):
    """Writes what it hears into the run folder."""

    path: str = param("diary.txt", doc="File of the diary.")

    def stop(self) -> None:
        super().stop()
        Path(self.path).write_text("\n".join(self.lines) + "\n")
        Path(self.run_dir, "report.txt").write_text(f"{len(self.lines)} lines\n")
