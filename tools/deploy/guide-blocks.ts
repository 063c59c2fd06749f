/** The fenced blocks of the operator's guide, for the tests that hold it to its word. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

export const GUIDE_FILE = path.resolve(import.meta.dirname, '../../deploy/README.md');

export interface GuideBlock {
  /** What stands behind the fence, such as `sh run`. */
  readonly mark: string;
  readonly text: string;
  /** Of its first line in the file. */
  readonly line: number;
}

export function guideBlocks(guide = readFileSync(GUIDE_FILE, 'utf8')): GuideBlock[] {
  const blocks: GuideBlock[] = [];
  let open: { mark: string; line: number; lines: string[] } | undefined;
  for (const [n, line] of guide.split('\n').entries()) {
    const fence = /^\s*(?:```|~~~)(.*)$/.exec(line);
    if (fence === null) open?.lines.push(line);
    else if (open === undefined) open = { mark: fence[1]!.trim(), line: n + 2, lines: [] };
    else {
      blocks.push({ mark: open.mark, line: open.line, text: open.lines.join('\n') });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`line ${open.line}: the block has no end`);
  return blocks;
}

/** The commands of a shell block; lines that end in a backslash go on. */
export function commandsOf({ text }: GuideBlock): string[] {
  const lines = text.replaceAll('\\\n', ' ').split('\n');
  return lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
}
