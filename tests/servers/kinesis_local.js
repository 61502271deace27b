// Runs kinesis-local on free ports of the loopback interface and prints the port for plain HTTP.
'use strict'

require('./until_stdin_ends')

const net = require('net')
const path = require('path')

// Placeholders for the two servers; `listen` below replaces the ports.
const PLAIN = '4568'
Object.assign(process.env, { KINESIS_MOCK_PLAIN_PORT: PLAIN, KINESIS_MOCK_TLS_PORT: '4567' })

// By default, kinesis-local binds all interfaces, and its fixed ports might be in use.
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (...given) {
  const asked = given[0]?.port ?? given[0]
  if (String(asked) === PLAIN) this.once('listening', () => console.log(`port ${this.address().port}`))
  const callbacks = given.filter((argument) => typeof argument === 'function')
  return listen.call(this, { host: '127.0.0.1', port: 0 }, ...callbacks)
}

for (const operation of ['CREATE_STREAM', 'DELETE_STREAM', 'MERGE_SHARDS', 'SPLIT_SHARD']) {
  process.env[`${operation}_DURATION`] = '50ms'
}
Object.assign(process.env, {
  SHARD_LIMIT: '1000',
  LOG_LEVEL: 'ERROR',
  // Disables warnings about a busy machine.
  CATS_EFFECT_CPU_STARVATION_CHECK_INITIAL_DELAY: '1d',
})

const main = require.resolve('kinesis-local/main.js')
// kinesis-local loads its certificate from the current directory.
process.chdir(path.dirname(main))
require(main)
