// Runs kinesalite on a free port of the loopback interface and prints the port.
'use strict'

require('./until_stdin_ends')

const server = require('kinesalite')({ createStreamMs: 50, deleteStreamMs: 50, updateStreamMs: 50, shardLimit: 1000 })
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`))
