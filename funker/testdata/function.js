// A function in Node, with nothing but its standard library.
// node function.js once|many: prints its port, answers one call or all.
'use strict';
const net = require('net');
const once = process.argv[2] === 'once';

const deeds = {
  greet: (request) => ({ hello: `Grüße, ${request.name} 😀` }),
  nothing: () => undefined,
  large: (request) => 'ü'.repeat(request.size),
  fail: () => ({ funkerError: { message: 'no such city', retry: false, retryAfter: 1.5 } }),
};

const server = net.createServer({ allowHalfOpen: true }, (connection) => {
  const parts = [];
  connection.on('data', (part) => parts.push(part));
  connection.on('error', () => {}); // a caller that went away
  connection.on('end', () => {
    const request = JSON.parse(Buffer.concat(parts).toString('utf8')); // kills the process when it throws
    const reply = deeds[request.do](request);
    connection.end(JSON.stringify(reply === undefined ? null : reply));
    if (once) server.close();
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
