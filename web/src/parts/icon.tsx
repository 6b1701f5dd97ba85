const paths = {
  microphone: 'M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3Zm-7 8a7 7 0 0 0 14 0M12 18v3',
  stop: 'M7 7h10v10H7z',
  send: 'M5 12h13M12 5l7 7-7 7',
  file: 'M21 12.5 12.6 21a5.5 5.5 0 0 1-7.8-7.8l8.5-8.4a3.7 3.7 0 0 1 5.2 5.2L10 18.4a1.8 1.8 0 0 1-2.6-2.6l7.8-7.8',
  play: 'M8 5.5v13l10-6.5z',
  plus: 'M12 5v14M5 12h14',
  download: 'M12 4v11m-5-5 5 5 5-5M5 20h14',
  pencil: 'M4 20h4L19 9l-4-4L4 16v4Z',
  bin: 'M5 7h14M10 7V4h4v3m-7 0 1 13h8l1-13',
  chat: 'M4 5h16v11H9l-5 4V5Z',
  close: 'M6 6l12 12M18 6 6 18',
  warning: 'M12 4 2.5 20h19L12 4Zm0 6v5m0 2.5v.2',
  info: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Zm0 8v5m0-8.2V8',
  check: 'M5 12.5 10 17.5 19 7',
  menu: 'M4 7h16M4 12h16M4 17h16',
  film: 'M4 5h16v14H4zM8 5v14M16 5v14M4 12h16',
  person: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM4 21a8 8 0 0 1 16 0',
} as const;
export type IconName = keyof typeof paths;

/** A decoration: whatever it stands in has a name of its own. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}
