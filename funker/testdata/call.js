// A caller in Node, with nothing but its standard library.
// node call.js PORT REQUEST: prints the reply, encoded anew.
'use strict';
const net = require('net');
const [port, request] = process.argv.slice(2);

const connection = net.createConnection({ host: '127.0.0.1', port: Number(port) }, () => {
  connection.end(JSON.stringify(JSON.parse(request)));
});
const parts = [];
connection.on('data', (part) => parts.push(part));
connection.on('end', () => {
  process.stdout.write(JSON.stringify(JSON.parse(Buffer.concat(parts).toString('utf8'))));
});
