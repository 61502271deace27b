// Exits when the parent process ends and thereby closes the pipe.
'use strict'

process.stdin.on('end', () => process.exit()).on('error', () => process.exit()).resume()
