/**
 * Encryption of objects' bodies at the proxy: what is written is sealed before it leaves for a storage
 * node, what is read is opened after it came from one. Sizes, MD5s and checksums that clients see are
 * those of the plain bytes; no storage node ever has these or a key.
 */
import { createHmac } from 'node:crypto';
import type { EntryState } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { ObjectKey } from '#identity/object-keys.ts';
import type { ContainerInfo, ObjectReader, Operation, PutRequest } from '../contract.ts';
import { defaultEncryption } from './default-encryption.ts';
import {
  decodeEnvelope,
  type EncryptionFacts,
  type Envelope,
  encodeEnvelope,
  isVerified,
  KEY_BYTES,
  PARTS_SEALED,
  SALT_BYTES,
  type Transform,
  unwrapKey,
  verifierOf,
  wrapContext,
  wrapKey,
} from './envelope.ts';
import { openRange, openWhole, SegmentSealer } from './segments.ts';

export type { EncryptionFacts } from './envelope.ts';

/** What a write asks for. */
export type WantedEncryption =
  | { readonly kind: 'store' }
  /** `name`: '' for the store's own key, shown as a named one. */
  | { readonly kind: 'named'; readonly name: string; readonly bucketKey: boolean }
  | { readonly kind: 'customer'; readonly key: Uint8Array };

/** Where the keys that wrap data keys come from: `ObjectKeys` of src/identity. */
export interface KeySource {
  /** The newest version of a name, '' for the store's own. @throws OperatingError `no-such-key`, ... */
  newest(name: string): Promise<ObjectKey>;
  /** @throws OperatingError `object-key-lost` */
  byId(id: string): Promise<ObjectKey>;
}

/** A store that was given no keys. Customers' keys it can use. */
export const NO_KEYS: KeySource = {
  newest: async () => {
    throw new OperatingError('no-object-keys', 'this store has no keys to encrypt objects with');
  },
  byId: async (id) => {
    throw keyLost(id);
  },
};

/** Of one body. */
export interface Sealer {
  readonly facts: EncryptionFacts;
  readonly transform: Transform;
  update(chunk: Uint8Array): Buffer[];
  final(): Buffer;
  /** What clients are shown for the body's MD5: with a key of their choice it must not be one. */
  etag(md5: string): string;
}

export class Encryption {
  readonly #random: Env['random'];
  readonly #keys: KeySource;

  constructor(random: Env['random'], keys: KeySource) {
    this.#random = random;
    this.#keys = keys;
  }

  /** As the request says, else as its container does. Undefined: the body is kept as it is. */
  async sealerFor(
    container: Pick<ContainerInfo, 'headers'>,
    request: Pick<PutRequest, 'encryption' | 'manifest' | 'version' | 'stored'>,
  ): Promise<Sealer | undefined> {
    const { manifest, version, stored } = request;
    if (manifest !== undefined || version !== undefined || stored !== undefined) return undefined;
    const wanted = request.encryption ?? defaultEncryption(container);
    return wanted && (await this.#sealer(wanted));
  }

  async #sealer(wanted: WantedEncryption): Promise<Sealer> {
    const salt = this.#random.bytes(SALT_BYTES);
    const dataKey = this.#random.bytes(KEY_BYTES);
    const facts = factsOf(wanted, salt);
    const { id, material } = await this.#wrappingKey(wanted);
    const wrapped = wrapKey(dataKey, material, salt, wrapContext({ facts, keyId: id }));
    const segments = new SegmentSealer(dataKey);
    return {
      facts,
      transform: encodeEnvelope({ facts, keyId: id, sealedKey: { salt, wrapped } }),
      update: (chunk) => segments.update(chunk),
      final: () => segments.final(),
      etag: (md5) => (facts.kind === 'store' ? md5 : hiddenEtag(dataKey, md5)),
    };
  }

  async #wrappingKey(
    wanted: WantedEncryption,
  ): Promise<{ readonly id: string; readonly material: Uint8Array }> {
    if (wanted.kind === 'customer') return { id: '', material: wanted.key };
    return this.#keys.newest(wanted.kind === 'named' ? keyNameOf(wanted.name) : '');
  }

  /**
   * The reader of the plain bytes.
   * @throws OperatingError `customer-key-needed`, `customer-key-wrong`, `customer-key-unwanted`,
   * `object-key-lost`, `sealed-damaged`
   */
  async open(
    { customerKey, asStored }: Pick<Operation, 'customerKey' | 'asStored'>,
    reader: ObjectReader,
  ): Promise<ObjectReader> {
    // A name that points at one of its versions has no bytes of its own.
    if (asStored || reader.state.data?.versionId !== undefined) return reader;
    const envelope = envelopeOf(reader.state);
    checkCustomerKey(envelope?.facts, customerKey);
    if (envelope?.sealedKey === undefined) return reader;
    const key = await this.#dataKey(envelope, customerKey);
    const { size } = reader.state.data!;
    const { inline } = reader;
    const body = { key, size, read: reader.read };
    return {
      ...reader,
      length: size,
      read: (start, end) => openRange(body, start, end),
      ...(inline !== undefined && { inline: openWhole(key, size, inline) }),
    };
  }

  async #dataKey(envelope: Envelope, customerKey: Uint8Array | undefined): Promise<Buffer> {
    const { facts, keyId } = envelope;
    const isCustomers = facts.kind === 'customer';
    const secret = isCustomers ? customerKey! : (await this.#keys.byId(keyId)).material;
    const key = unwrapKey(envelope.sealedKey!, secret, wrapContext(envelope));
    if (key !== undefined) return key;
    throw isCustomers ? keyWrong() : keyLost(keyId);
  }
}

/** `arn:aws:kms:REGION:ACCOUNT:key/NAME` and `alias/NAME` are NAME; S3's own alias is the store's own key. */
function keyNameOf(given: string): string {
  const name = given.replace(/^arn:aws:kms:[^:]*:[^:]*:/, '').replace(/^(key|alias)\//, '');
  return name === 'aws/s3' ? '' : name;
}

function factsOf(wanted: WantedEncryption, salt: Buffer): EncryptionFacts {
  if (wanted.kind !== 'customer') return wanted;
  return { kind: 'customer', salt, verifier: verifierOf(wanted.key, salt) };
}

function hiddenEtag(dataKey: Uint8Array, md5: string): string {
  return createHmac('sha256', dataKey).update(`etag ${md5}`).digest('hex').slice(0, md5.length);
}

function envelopeOf(state: EntryState): Envelope | undefined {
  const transform = state.data?.body?.transform;
  return transform && decodeEnvelope(transform);
}

/** Undefined: the object is not encrypted. */
export function encryptionOf(state: EntryState): EncryptionFacts | undefined {
  return envelopeOf(state)?.facts;
}

/** Whether a plain object's ETag is the MD5 of its bytes. */
export function showsMd5(state: EntryState): boolean {
  const kind = encryptionOf(state)?.kind;
  return kind === undefined || kind === 'store';
}

/** The mark of a manifest, whose parts are encrypted so. */
export function markOf(facts: EncryptionFacts): Transform {
  return encodeEnvelope({ facts, keyId: '' });
}

export function isMark(transform: Transform): boolean {
  return transform.algorithm === PARTS_SEALED;
}

/** How a customer's key is remembered where nothing is sealed with it yet. */
export function customerFacts(random: Env['random'], key: Uint8Array): EncryptionFacts {
  return factsOf({ kind: 'customer', key }, random.bytes(SALT_BYTES));
}

/** Also for who looks at an object's state alone. @throws OperatingError, as `open` */
export function checkCustomerKey(
  facts: EncryptionFacts | undefined,
  customerKey: Uint8Array | undefined,
): void {
  if (facts?.kind !== 'customer') {
    if (customerKey === undefined) return;
    throw new OperatingError('customer-key-unwanted', 'no customer key encrypts this object');
  }
  if (customerKey === undefined) {
    const text = "the object is encrypted with its owner's key, which must come with the request";
    throw new OperatingError('customer-key-needed', text);
  }
  if (!isVerified(facts, customerKey)) throw keyWrong();
}

function keyWrong(): OperatingError {
  return new OperatingError('customer-key-wrong', 'another customer key encrypts this object');
}

function keyLost(id: string): OperatingError {
  const text = 'the key that wraps the key of this object is not known here';
  return new OperatingError('object-key-lost', text, { id });
}
