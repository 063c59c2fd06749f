/**
 * The handshake, without any I/O: payloads in, payloads out.
 *
 *     dialler                              acceptor
 *     HELLO (nonce)              ──────>
 *                                <──────   HELLO (nonce), PROOF
 *     PROOF, calls ...           ──────>   open
 *     open
 *
 * A proof is HMAC-SHA-256 under the cluster's shared key over a label, the prover's role and both
 * HELLO payloads. Both nonces are in it (nothing can be replayed), the role (nothing can be sent
 * back), and everything offered (no version or feature can be taken away on the path). The key
 * itself never travels. With TLS the certificates prove more, and the PROOF is empty.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { assert } from '#base/assert.ts';
import type { ClusterIdentity } from './contract.ts';
import { decodeHello, encodeHello, type Hello } from './hello.ts';
import { ProtocolError } from './protocol-error.ts';

const LABEL = 'anello wire proof\0';
export const PROOF_BYTES = 32;
const MIN_KEY_BYTES = 16;

export interface HandshakeOptions {
  readonly cluster: ClusterIdentity;
  readonly own: Hello;
  /** The node that was dialled; undefined for an acceptor, who takes any member. */
  readonly expectedNode: string | undefined;
  /** With TLS, the name in the peer's certificate. */
  readonly certificateName: string | undefined;
}

export class Handshake {
  readonly #options: HandshakeOptions;
  readonly #ownPayload: Buffer;
  #peerPayload: Buffer | undefined;
  #peer: Hello | undefined;

  constructor(options: HandshakeOptions) {
    assert(options.cluster.sharedKey.length >= MIN_KEY_BYTES, 'the shared key is too short');
    this.#options = options;
    this.#ownPayload = encodeHello(options.own);
  }

  get hello(): Buffer {
    return this.#ownPayload;
  }

  get peer(): Hello | undefined {
    return this.#peer;
  }

  /** The version to speak from now on. @throws ProtocolError with the reason to part */
  acceptHello(payload: Buffer): number {
    if (this.#peer !== undefined) throw unexpected('a second HELLO');
    const peer = decodeHello(payload);
    this.#peer = peer;
    this.#peerPayload = Buffer.from(payload);
    return checkPeer(this.#options, peer);
  }

  /** What we send to prove ourselves; after `acceptHello`. */
  proof(): Buffer {
    return this.#sum(this.#options.own.role);
  }

  /** @throws ProtocolError `wrong-proof` */
  acceptProof(payload: Buffer): void {
    if (this.#peer === undefined) throw unexpected('a PROOF before the HELLO');
    const expected = this.#sum(this.#peer.role);
    if (payload.length !== expected.length || !timingSafeEqual(payload, expected)) {
      throw new ProtocolError('wrong-proof', 'the peer does not know the key of this cluster');
    }
  }

  #sum(role: Hello['role']): Buffer {
    if (this.#options.certificateName !== undefined) return Buffer.alloc(0);
    const peerPayload = this.#peerPayload;
    assert(peerPayload !== undefined, 'a proof needs both HELLOs');
    const dials = this.#options.own.role === 'dials';
    const payloads = dials ? [this.#ownPayload, peerPayload] : [peerPayload, this.#ownPayload];
    const hmac = createHmac('sha256', this.#options.cluster.sharedKey).update(LABEL + role);
    for (const payload of payloads) {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(payload.length);
      hmac.update(length).update(payload);
    }
    return hmac.digest();
  }
}

/** Version ranges that overlap agree on the highest common one; only disjoint ones part. */
function checkPeer({ own, expectedNode, certificateName }: HandshakeOptions, peer: Hello): number {
  if (peer.role === own.role) throw unexpected('a HELLO of the wrong role');
  const version = Math.min(own.maxVersion, peer.maxVersion);
  if (version < Math.max(own.minVersion, peer.minVersion)) {
    throw new ProtocolError('no-common-version', 'the two sides share no protocol version', {
      ours: `${own.minVersion}-${own.maxVersion}`,
      theirs: `${peer.minVersion}-${peer.maxVersion}`,
    });
  }
  if (peer.clusterId !== own.clusterId) {
    throw new ProtocolError('wrong-cluster', 'the peer belongs to another cluster');
  }
  if (peer.node === own.node || (expectedNode !== undefined && peer.node !== expectedNode)) {
    throw new ProtocolError('wrong-node', 'another node answers at this address', {
      expected: expectedNode,
      actual: peer.node,
    });
  }
  if (certificateName !== undefined && certificateName !== machineOf(peer.node)) {
    throw new ProtocolError('wrong-certificate', 'the certificate is of another node', {
      certificate: certificateName,
      node: peer.node,
    });
  }
  return version;
}

/** A worker process, `node/worker-1`, goes by the certificate of its node. */
function machineOf(node: string): string {
  return node.split('/', 1)[0]!;
}

function unexpected(what: string): ProtocolError {
  return new ProtocolError('unexpected-frame', what);
}
