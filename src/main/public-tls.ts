/**
 * HTTPS of the public ports. The files are looked at every few seconds and read again when they change,
 * so that a renewed certificate is in force without a restart; a pair that does not fit is reported and
 * the one before goes on.
 */
import { readFileSync, statSync } from 'node:fs';
import type { Server } from 'node:http';
import { createSecureContext, Server as TlsServer } from 'node:tls';
import { messageOf } from '#base/errors.ts';
import type { NodeConfig } from '#config/node-config.ts';
import type { Env, Timer } from '#env/env.ts';

const LOOK_MS = 5000;

export interface PublicTls {
  readonly key: Buffer;
  readonly cert: Buffer;
  readonly minVersion: 'TLSv1.2';
}

/** Undefined: these ports are plain HTTP. */
export function publicTls({ tls }: Pick<NodeConfig, 'tls'>): PublicTls | undefined {
  if (tls === undefined) return undefined;
  const { keyFile, certificateFile } = tls;
  return {
    key: readFileSync(keyFile),
    cert: readFileSync(certificateFile),
    minVersion: 'TLSv1.2',
  };
}

/** @returns how to stop looking */
export function keepPublicTls(
  { clock, log }: Pick<Env, 'clock' | 'log'>,
  config: Pick<NodeConfig, 'tls'>,
  server: Server,
): () => void {
  const { tls } = config;
  if (tls === undefined || !(server instanceof TlsServer)) return () => undefined;
  let seen = versionOf(tls);
  let timer: Timer;
  const look = (): void => {
    try {
      const now = versionOf(tls);
      if (now !== seen) {
        seen = now;
        const next = publicTls(config)!;
        // Throws for a key and a certificate that don't belong together, before anything is changed.
        createSecureContext(next);
        server.setSecureContext(next);
        log.info('https.certificate-renewed', { file: tls.certificateFile });
      }
    } catch (error) {
      log.error('https.certificate-refused', { reason: messageOf(error) });
    }
    timer = clock.setTimer(LOOK_MS, look);
  };
  timer = clock.setTimer(LOOK_MS, look);
  return () => timer.cancel();
}

function versionOf({ keyFile, certificateFile }: NonNullable<NodeConfig['tls']>): string {
  const stamp = (file: string): string => {
    const { mtimeMs, size, ino } = statSync(file);
    return `${mtimeMs}/${size}/${ino}`;
  };
  return `${stamp(keyFile)} ${stamp(certificateFile)}`;
}
