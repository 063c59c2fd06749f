/**
 * Grid identities: a client's certificate chain in, a mapped user out. Authorities, revocation lists,
 * VOMS servers and rules are files that other tools (fetch-crl, the distribution of IGTF) replace while
 * we run, so they are read again every RELOAD_MS. When reading fails the last good state goes on.
 */
import { messageOf, OperatingError } from '#base/errors.ts';
import type { Env, Timer } from '#env/env.ts';
import { applyMapping, type Mapped, type MappingRule, parseMapping } from './mapping.ts';
import { loadCaFolder } from './x509/ca-folder.ts';
import { parseCertificate } from './x509/certificate.ts';
import { MAX_CHAIN, type ProvenIdentity, type TrustStore, validateChain } from './x509/chain.ts';
import { loadVomsServers, type VomsAttributes, type VomsServers, verifyVoms } from './x509/voms.ts';

const RELOAD_MS = 10 * 60_000;

export interface GridOptions {
  readonly env: Pick<Env, 'clock' | 'disk' | 'log'>;
  /** As /etc/grid-security/certificates. */
  readonly caFolder: string;
  /** As /etc/grid-security/vomsdir. Absent: VOMS attributes do not count. */
  readonly vomsFolder?: string;
  readonly rulesFile: string;
  /** Reads the rules file's text: YAML or JSON. */
  readonly parseRules: (text: string) => unknown;
}

export interface GridProof {
  readonly mapped: Mapped;
  /** When certificates and attributes end. */
  readonly expiresMs: number;
  readonly limited: boolean;
  readonly subject: string;
  readonly fqans: readonly string[];
}

interface Loaded {
  readonly trust: TrustStore;
  readonly voms: VomsServers;
  readonly rules: readonly MappingRule[];
}

export class Grid {
  readonly #options: GridOptions;
  #loaded: Loaded | undefined;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: GridOptions) {
    this.#options = options;
  }

  /** @throws OperatingError `bad-mapping`, or what the disk says: a first start shows its mistakes */
  async start(): Promise<void> {
    this.#loaded = await this.#load();
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /**
   * @param chain DER, leaf first
   * @throws OperatingError `bad-certificate`, `unauthorized` (no rule fits)
   */
  prove(chain: readonly Uint8Array[]): GridProof {
    const { trust, voms, rules } = this.#loaded ?? { trust: NO_TRUST, voms: new Map(), rules: [] };
    if (chain.length > MAX_CHAIN)
      throw new OperatingError('bad-certificate', 'too many certificates');
    const nowMs = this.#options.env.clock.wallMicros() / 1000;
    const identity = validateChain(chain.map(parseCertificate), trust, nowMs);
    const attributes = this.#attributes(identity, trust, voms, nowMs);
    const mapped = applyMapping(rules, { ...identity, ...attributes });
    if (mapped === undefined) {
      throw new OperatingError('unauthorized', `No rule maps ${identity.subject}.`);
    }
    const expiresMs = Math.min(identity.expiresMs, attributes.expiresMs);
    const { limited, subject } = identity;
    return { mapped, expiresMs, limited, subject, fqans: attributes.fqans };
  }

  /** Attributes that cannot be believed are as if they were not there: the person is still proven. */
  #attributes(
    identity: ProvenIdentity,
    trust: TrustStore,
    voms: VomsServers,
    nowMs: number,
  ): VomsAttributes {
    const none = { vos: [], fqans: [], expiresMs: Infinity };
    const carrier = identity.chain.find((certificate) => certificate.voms !== undefined);
    if (carrier?.voms === undefined) return none;
    try {
      return verifyVoms(carrier.voms, identity.endEntity, voms, trust, nowMs);
    } catch (error) {
      const facts = { subject: identity.subject, error: messageOf(error) };
      this.#options.env.log.warn('identity.voms-ignored', facts);
      return none;
    }
  }

  async #load(): Promise<Loaded> {
    const { env, caFolder, vomsFolder, rulesFile, parseRules } = this.#options;
    const text = (await env.disk.read(rulesFile)).toString();
    return {
      trust: await loadCaFolder(env, caFolder),
      voms: vomsFolder === undefined ? new Map() : await loadVomsServers(env, vomsFolder),
      rules: parseMapping(parseRules(text)),
    };
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = this.#options.env.clock.setTimer(RELOAD_MS, () => {
      this.#load()
        .then(
          (loaded) => {
            this.#loaded = loaded;
          },
          (error: unknown) => {
            this.#options.env.log.error('identity.grid-reload-failed', { error: messageOf(error) });
          },
        )
        .finally(() => this.#schedule());
    });
  }
}

const NO_TRUST: TrustStore = { anchors: [], revocationLists: [] };
