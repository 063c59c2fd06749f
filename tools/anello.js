#!/usr/bin/env node
// The `anello` command. Plain JavaScript on purpose: it must start under an old Node too, where it
// runs the Node that this checkout pins (the npm package `node`) instead. Sources are TypeScript that
// needs Node 24, and better-sqlite3 crashes a process under Node 20, so nothing is imported before.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { fileURLToPath } from 'node:url';

const OLDEST = 24;

if (Number(process.versions.node.split('.')[0]) >= OLDEST) {
  // Type stripping and compiling cost a second of CPU per process; the cache is shared by all of them.
  process.env.NODE_COMPILE_CACHE ??= fileURLToPath(
    new URL('../node_modules/.cache/anello', import.meta.url),
  );
  module.enableCompileCache?.(process.env.NODE_COMPILE_CACHE);
  const { main } = await import('./program.ts');
  await main(process.argv.slice(2));
} else {
  runPinned();
}

function runPinned() {
  const pinned = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));
  if (!existsSync(pinned)) {
    console.error(
      `anello: Node ${OLDEST} or newer is needed, this is ${process.version}; run "npm ci" first`,
    );
    process.exit(1);
  }
  const self = fileURLToPath(import.meta.url);
  const child = spawn(pinned, [self, ...process.argv.slice(2)], { stdio: 'inherit' });
  // A terminal's Ctrl-C reaches the child by itself; this keeps the parent alive until it is done.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
}
