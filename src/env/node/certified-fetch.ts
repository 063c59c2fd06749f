/**
 * `fetch` that shows a client certificate and trusts one authority only: for etcd, whose members ask for
 * it. The platform's own takes neither; undici's is the same code with a way to say so.
 */
import { readFileSync, statSync } from 'node:fs';
import type { Agent } from 'undici';

/** PEM files. */
export interface CertificateFiles {
  readonly authorityFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

const LOOK_EVERY_MS = 5000;

/**
 * Files that change are read again within seconds: certificates are renewed while processes run. While
 * they cannot be read, or key and certificate don't fit, what was there before goes on.
 * @throws what reading the files fails with, at first
 */
export function certifiedFetch(files: CertificateFiles): typeof globalThis.fetch {
  let seen = versionOf(files);
  const undici = import('undici'); // Here, as it takes megabytes that only this needs.
  let agent = agentOf(undici, readPems(files));
  let lookedAtMs = performance.now();
  const renew = (): void => {
    if (performance.now() < lookedAtMs + LOOK_EVERY_MS) return;
    lookedAtMs = performance.now();
    try {
      const now = versionOf(files);
      if (now === seen) return;
      const [next, before] = [agentOf(undici, readPems(files)), agent];
      [agent, seen] = [next, now];
      // Answers that are under way end on the connections that they began on.
      before.then((old) => old.close()).catch(() => undefined);
    } catch {
      // Being replaced, perhaps: looked at again soon.
    }
  };
  const fetchIt = async (url: string, init: object) => {
    renew();
    const { fetch } = await undici;
    return fetch(url, { ...init, dispatcher: await agent });
  };
  return fetchIt as unknown as typeof globalThis.fetch;
}

interface Pems {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

function readPems({ authorityFile, certificateFile, keyFile }: CertificateFiles): Pems {
  const [ca, cert, key] = [authorityFile, certificateFile, keyFile].map((file) =>
    readFileSync(file),
  );
  return { ca: ca!, cert: cert!, key: key! };
}

async function agentOf(undici: Promise<typeof import('undici')>, pems: Pems): Promise<Agent> {
  const { Agent } = await undici;
  // A watch is an answer that goes on for ever.
  return new Agent({ connect: { ...pems }, bodyTimeout: 0, headersTimeout: 0 });
}

function versionOf(files: CertificateFiles): string {
  const { authorityFile, certificateFile, keyFile } = files;
  return [authorityFile, certificateFile, keyFile]
    .map((file) => statSync(file))
    .map(({ mtimeMs, ino }) => `${mtimeMs} ${ino}`)
    .join();
}
