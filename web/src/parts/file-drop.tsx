import type { ComponentChildren } from 'preact';
import { useId, useState } from 'preact/hooks';
import { Icon } from './icon.js';

/** A place to drop a file on, or to choose one with; `children` shows what was chosen. */
export function FileDrop({
  label,
  hint,
  accept,
  onFile,
  children,
}: {
  label: string;
  hint?: string;
  accept: string;
  onFile: (file: File) => void;
  children?: ComponentChildren;
}) {
  const [isOver, setOver] = useState(false);
  const hintId = useId();
  return (
    <label
      class={`file-drop${isOver ? ' is-over' : ''}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        const file = event.dataTransfer?.files[0];
        if (file !== undefined) onFile(file);
      }}
    >
      <input
        class="visually-hidden"
        type="file"
        accept={accept}
        aria-label={label}
        aria-describedby={hint === undefined ? undefined : hintId}
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          event.currentTarget.value = '';
          if (file !== undefined) onFile(file);
        }}
      />
      {children ?? <Icon name="file" />}
      <span class="file-drop-label">{label}</span>
      {hint && (
        <span id={hintId} class="hint">
          {hint}
        </span>
      )}
    </label>
  );
}
