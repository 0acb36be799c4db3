"""Search among many: galleries of faces and voices, on disk and in memory."""

from speechbrain_fv.search.gallery import Gallery, Hits
from speechbrain_fv.search.index import choose_kind

__all__ = ["Gallery", "Hits", "choose_kind"]
