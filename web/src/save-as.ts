/** Keeps an answer as a file under the name that the server gave it, unless it has another. */
export async function saveAs(answer: Response, name?: string): Promise<void> {
  const named = answer.headers.get('content-disposition') ?? '';
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(named)?.[1];
  const plain = /filename="?([^";]+)"?/i.exec(named)?.[1];
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name ?? (encoded === undefined ? (plain ?? 'file') : decodeURIComponent(encoded));
  link.click();
  URL.revokeObjectURL(link.href);
}
