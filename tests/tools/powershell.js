// powershell.js FILE... - fails, naming each place, where a file is no PowerShell.
const fs = require('fs');
const { Parser, Language } = require('web-tree-sitter');

function* faults(node) {
    if (node.isError || node.isMissing)
        yield node;
    for (const child of node.children)
        yield* faults(child);
}

async function main(files) {
    await Parser.init();
    const parser = new Parser();
    parser.setLanguage(await Language.load(require.resolve('tree-sitter-powershell/tree-sitter-powershell.wasm')));
    for (const file of files) {
        const { rootNode } = parser.parse(fs.readFileSync(file, 'utf8'));
        for (const { startPosition: { row, column }, text } of faults(rootNode)) {
            console.error(`${file}:${row + 1}:${column + 1}: no PowerShell: ${text.split('\n')[0]}`);
            process.exitCode = 1;
        }
        if (!process.exitCode)
            console.log(`check-powershell: ${file} is sound`);
    }
}

main(process.argv.slice(2));
