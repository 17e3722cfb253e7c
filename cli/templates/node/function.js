// The argument is the last of argv; what goes to standard output is the answer.
console.log(`Hello, ${process.argv[2] || "nobody"}!`);
