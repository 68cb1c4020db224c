"""HTTP, with FastAPI. No module here imports an adapter: `app.snapshot` passes in what a route needs.

audio               transcriptions and translations, as plain ASGI endpoints
models              the models that a caller may use
usage               a caller's own usage and budgets
admin               the admin API; `admin_schemas` has its bodies
system, metrics     health and metrics
docs_page, openapi  the documentation page and its document
authentication      the caller of a FastAPI route
request_body        reads an upload from ASGI
response_sender     sends the pipeline's response as ASGI messages
request_id          the outermost middleware
cors, hsts          middleware for browsers
error_handlers      errors of FastAPI routes in OpenAI's envelope; `path_suggestions` for unknown paths
error_response      an error as ASGI messages
swappable_app       the application that a reload replaces; `in_flight_tracker` waits for its requests
"""
