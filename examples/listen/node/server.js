// Answers with the process that served the request.
const http = require("http");

const server = http.createServer((request, response) => {
  response.end(`${process.env.PS} in process ${process.pid}\n`);
});

// The socket that was handed over; a port where there is none.
server.listen(process.env.LISTEN_FDS ? { fd: 3 } : process.env.PORT, () => console.log("listening"));

// Takes no more clients, answers those it has, and ends.
process.on("SIGTERM", () => server.close());
