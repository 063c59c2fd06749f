/**
 * The guide's commands are ones that the program has: a verb or an option that changed breaks this, not
 * an operator. (`test/cluster/guide.test.ts` runs what is marked `run`.)
 */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseMachineFile } from '#config/machine-file.ts';
import { programOf } from '../program.ts';
import { problemsOf } from '../testing/command-line.ts';
import { commandsOf, GUIDE_FILE, guideBlocks } from './guide-blocks.ts';

const MARKS = ['sh run', 'sh check', 'yaml check'];
/** What a guide may ask for besides. */
const PROGRAMS = ['haproxy', 'nft', 'openssl', 'promtool', 'sed', 'systemctl', 'systemd-analyze'];
const CHAPTERS = [
  ...['Three sites from nothing', 'Sizing', 'WAN tuning', 'The firewall', 'Replacing a disk'],
  ...['Losing a node', 'Losing a site, adding a site', 'Upgrading', 'Raising the part power'],
  ...['Backing up', 'Reading the metrics'],
];
const blocks = guideBlocks();
let program: Command;

beforeAll(async () => {
  program = await programOf();
});

describe('the guide', () => {
  it('has every chapter, and marks every block', () => {
    const guide = readFileSync(GUIDE_FILE, 'utf8');
    const titles = guide.split('\n').filter((line) => /^##+ /.test(line));
    for (const chapter of CHAPTERS)
      expect(
        titles.some((title) => title.includes(chapter)),
        chapter,
      ).toBe(true);
    expect(blocks.filter(({ mark }) => mark === 'sh run').length).toBeGreaterThan(6);
    for (const { mark, line } of blocks) expect(MARKS, `line ${line}`).toContain(mark);
  });

  it('names only commands and options that there are, with the arguments they want', () => {
    for (const line of blocks.filter(({ mark }) => mark.startsWith('sh ')).flatMap(commandsOf)) {
      if (PROGRAMS.includes(line.split(' ')[0]!)) continue;
      expect(line.startsWith('anello '), line).toBe(true);
      expect(problemsOf(program, line)).toEqual([]);
    }
  });

  it("shows a machine's file that is one", () => {
    const files = blocks.filter(({ mark }) => mark === 'yaml check');
    expect(files.length).toBeGreaterThan(0);
    for (const { text } of files) expect(parseMachineFile(text).name).toBe('lngs-1');
  });

  it('is not taken for whole with a block that is not marked, or has no end', () => {
    expect(guideBlocks('a\n```\nanello x\n```\n')).toMatchObject([{ mark: '', line: 3 }]);
    expect(() => guideBlocks('```sh run\nanello x\n')).toThrow(/no end/);
  });
});
