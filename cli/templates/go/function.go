// The argument is the last one; what goes to standard output is the answer.
package main

import (
	"fmt"
	"os"
)

func main() {
	name := "nobody"
	if len(os.Args) > 1 {
		name = os.Args[len(os.Args)-1]
	}
	fmt.Printf("Hello, %s!\n", name)
}
