// Ends this process once whoever started it is gone: its end of the pipe closes however it ends.
'use strict'

process.stdin.on('end', () => process.exit()).on('error', () => process.exit()).resume()
