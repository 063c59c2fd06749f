/**
 * A node's certificate and key, as the wire and the authority use them: read from its files, renewed in
 * time at the authority, without a restart. The worker processes of a node read the files again.
 *
 * Key and certificate of a joined node are one file, so that no crash leaves one without the other.
 */
import { readFileSync } from 'node:fs';
import { certificateFacts } from '#authority/certificate-facts.ts';
import { OperatingError } from '#base/errors.ts';
import type { NodeConfig } from '#config/node-config.ts';
import type { Env, TlsOptions } from '#env/env.ts';
import type { Job } from '#worker/job.ts';
import type { AskAuthority } from './authority-client.ts';

const LOOK_MS = 60_000;
const SECRET_MODE = 0o600;
/** Renewed when less than this part of its time is left. */
const RENEW_BELOW = 1 / 3;

export class NodeCertificate {
  readonly #config: NodeConfig;
  readonly #listeners = new Set<() => void>();
  #current: TlsOptions;

  /** Undefined: this node has none, its cluster is one machine. */
  static open(config: NodeConfig): NodeCertificate | undefined {
    return config.wireTls === undefined ? undefined : new NodeCertificate(config);
  }

  private constructor(config: NodeConfig) {
    this.#config = config;
    this.#current = this.#read();
  }

  get current(): TlsOptions {
    return this.#current;
  }

  get validUntilMs(): number {
    return certificateFacts(this.#current.certificate).notAfterMs;
  }

  renewed(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Looks once a minute whether it is time; `renews` is false in workers, which only read again. */
  keeper(env: Pick<Env, 'clock' | 'disk' | 'log'>, ask: AskAuthority, renews: boolean): Job {
    return {
      name: 'node.certificate',
      step: async () => {
        const onDisk = this.#read();
        if (onDisk.certificate !== this.#current.certificate) this.#take(onDisk);
        else if (renews && isDue(onDisk.certificate, env.clock.wallMicros() / 1000))
          await this.#renew(env, ask);
        return { kind: 'idle', waitMs: LOOK_MS };
      },
    };
  }

  async #renew({ disk, log }: Pick<Env, 'disk' | 'log'>, ask: AskAuthority): Promise<void> {
    const { authorities, name, wireTls } = this.#config;
    const { createRequest, newPrivateKey } = await import('#authority/certificates.ts');
    const key = newPrivateKey();
    const request = createRequest(key, name);
    for (const authority of authorities) {
      const { status, body } = await ask(`${authority}/v1/certificate`, 'POST', { request });
      if (status !== 200) continue;
      const { certificate } = JSON.parse(body.toString()) as { certificate: string };
      certificateFacts(certificate);
      await disk.replace(wireTls!.certificateFile, Buffer.from(key + certificate), SECRET_MODE);
      this.#take(this.#read());
      log.info('node.certificate-renewed', { untilMs: this.validUntilMs });
      return;
    }
    throw new OperatingError('not-renewed', 'no authority renewed the certificate', {
      untilMs: this.validUntilMs,
    });
  }

  #take(options: TlsOptions): void {
    this.#current = options;
    for (const listener of this.#listeners) listener();
  }

  #read(): TlsOptions {
    const { keyFile, certificateFile, authorityFile } = this.#config.wireTls!;
    const read = (file: string): string => readFileSync(file, 'utf8');
    return {
      key: read(keyFile),
      certificate: read(certificateFile),
      authority: read(authorityFile),
    };
  }
}

function isDue(certificate: string, nowMs: number): boolean {
  const { notBeforeMs, notAfterMs } = certificateFacts(certificate);
  return notAfterMs - nowMs < (notAfterMs - notBeforeMs) * RENEW_BELOW;
}
