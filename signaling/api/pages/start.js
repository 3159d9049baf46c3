// Shows the description of the HTTP interface. A file of its own: the page's policy allows no script in the page.
"use strict";

window.SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#interface",
  deepLinking: true,
  // Kept in this page only, and gone with it.
  persistAuthorization: false,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // The validator would send this server's address to somebody else's.
  validatorUrl: null,
});
