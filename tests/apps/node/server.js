// The textbook web server, without a word about signals: whatever starts it has to stop it.
const express = require("express");

const app = express();
app.get("/", (request, response) => response.send(`hello from process ${process.pid}\n`));
app.listen(process.env.PORT, "127.0.0.1", () => console.log(`listening on port ${process.env.PORT}`));
