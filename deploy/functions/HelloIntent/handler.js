// HelloIntent tells how many people are in space.
const net = require('net')

const url = process.env.URL || 'http://api.open-notify.org/astros.json'

async function hello () {
  const answer = await fetch(url, { signal: AbortSignal.timeout(5000) })
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`)
  const { number } = await answer.json()
  const text = `There are currently ${number} people in space`
  return {
    version: '1.0',
    response: {
      outputSpeech: { type: 'PlainText', text },
      card: { type: 'Simple', title: 'People in space', content: text },
      shouldEndSession: true
    }
  }
}

async function answer (request) {
  try {
    return await hello(JSON.parse(request))
  } catch (err) {
    return { funkerError: { message: err.message } }
  }
}

// Half-open: the caller closes its half when the request is complete, and waits for the reply on the other.
const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  let request = ''
  socket.setEncoding('utf8')
  socket.on('data', (part) => { request += part })
  socket.on('end', async () => { socket.end(JSON.stringify(await answer(request))) })
  socket.on('error', () => {}) // the caller has gone
})
server.listen(9999)
process.on('SIGTERM', () => server.close()) // ends when the last call has its reply
