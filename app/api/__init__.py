"""HTTP as FastAPI sees it; thin. Nothing here knows an adapter: `main` hands in what a route needs."""
