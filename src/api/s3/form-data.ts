/**
 * multipart/form-data as browsers post it (RFC 7578): fields, small, then one file, which is streamed. The
 * file's field is the last that counts; what comes behind it is thrown away.
 */
import { refuse, type S3Error } from './errors.ts';

export interface PostedForm {
  /** By name in lower case; the first of a name. */
  readonly fields: ReadonlyMap<string, string>;
  readonly fileName: string;
  readonly fileType: string | undefined;
  /** To be read to its end. */
  readonly file: AsyncIterable<Uint8Array>;
}

const MAX_FIELDS = 200;
const CRLF = Buffer.from('\r\n');
const HEAD_END = Buffer.from('\r\n\r\n');
const DISPOSITION = /^content-disposition:\s*form-data\s*;(.*)$/im;
const TYPE = /^content-type:\s*(.*?)\s*$/im;

/** @throws S3Error MalformedPOSTRequest */
export async function readForm(
  contentType: string,
  source: AsyncIterable<Uint8Array>,
  maxFieldBytes: number,
): Promise<PostedForm> {
  const [, quoted, bare] =
    /^multipart\/form-data\s*;.*?boundary=(?:"([^"]{1,200})"|([^\s;]{1,200}))/i.exec(contentType) ??
    [];
  const boundary = quoted ?? bare;
  if (boundary === undefined) throw malformed();
  const reader = new Reader(source, maxFieldBytes);
  const delimiter = Buffer.from(`\r\n--${boundary}`);
  // The first boundary has no line end before it.
  reader.prepend(CRLF);
  await reader.until(delimiter);
  const fields = new Map<string, string>();
  for (let count = 0; count < MAX_FIELDS; count++) {
    await reader.skip(CRLF);
    const head = (await reader.until(HEAD_END)).toString('utf8');
    const disposition = DISPOSITION.exec(head)?.[1];
    const name = parameter(disposition, 'name')?.toLowerCase();
    if (name === undefined) throw malformed();
    if (name === 'file') {
      const fileName = parameter(disposition, 'filename') ?? '';
      const fileType = TYPE.exec(head)?.[1];
      return { fields, fileName, fileType, file: reader.rest(delimiter) };
    }
    const value = (await reader.until(delimiter)).toString('utf8');
    if (!fields.has(name)) fields.set(name, value);
    if (await reader.startsWith('--')) break;
  }
  throw refuse('InvalidArgument', 'POST requires exactly one file upload per request.', {
    ArgumentName: 'file',
    ArgumentValue: '0',
  });
}

function parameter(disposition: string | undefined, name: string): string | undefined {
  const match = new RegExp(`(?:^|[;\\s])${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^;\\s]*))`, 'i');
  const [, quoted, bare] = match.exec(disposition ?? '') ?? [];
  return quoted?.replace(/\\(.)/g, '$1') ?? bare;
}

class Reader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #limit: number;
  #buffer: Buffer = Buffer.alloc(0);
  #taken = 0;

  constructor(source: AsyncIterable<Uint8Array>, limit: number) {
    this.#iterator = source[Symbol.asyncIterator]();
    this.#limit = limit;
  }

  prepend(bytes: Buffer): void {
    this.#buffer = Buffer.concat([bytes, this.#buffer]);
  }

  /** What stands before `mark`, which is taken too. Bounded: fields are small. */
  async until(mark: Buffer): Promise<Buffer> {
    for (;;) {
      const at = this.#buffer.indexOf(mark);
      if (at >= 0) {
        const found = this.#buffer.subarray(0, at);
        this.#buffer = this.#buffer.subarray(at + mark.length);
        this.#taken += found.length;
        if (this.#taken > this.#limit) throw tooLarge();
        return found;
      }
      if (this.#taken + this.#buffer.length > this.#limit + mark.length) throw tooLarge();
      if (!(await this.#more())) throw malformed();
    }
  }

  async skip(bytes: Buffer): Promise<void> {
    if (!(await this.startsWith(bytes.toString('latin1')))) throw malformed();
    this.#buffer = this.#buffer.subarray(bytes.length);
  }

  async startsWith(text: string): Promise<boolean> {
    while (this.#buffer.length < text.length) if (!(await this.#more())) return false;
    return this.#buffer.toString('latin1', 0, text.length) === text;
  }

  /** Everything before `mark`, as it comes; then the rest is read and thrown away. */
  async *rest(mark: Buffer): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const at = this.#buffer.indexOf(mark);
        if (at >= 0) {
          if (at > 0) yield this.#buffer.subarray(0, at);
          break;
        }
        // The mark may begin in these bytes and end in the next ones.
        const safe = this.#buffer.length - mark.length + 1;
        if (safe > 0) {
          yield this.#buffer.subarray(0, safe);
          this.#buffer = this.#buffer.subarray(safe);
        }
        if (!(await this.#more())) throw malformed();
      }
      while ((await this.#iterator.next()).done !== true);
    } finally {
      await this.#iterator.return?.();
    }
  }

  async #more(): Promise<boolean> {
    const next = await this.#iterator.next();
    if (next.done === true) return false;
    const { buffer, byteOffset, length } = next.value;
    const chunk = Buffer.from(buffer, byteOffset, length);
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    return true;
  }
}

function malformed(): S3Error {
  return refuse('MalformedPOSTRequest');
}

function tooLarge(): S3Error {
  return refuse('MaxPostPreDataLengthExceeded');
}
