/// Runs JUnit 4 classes and writes a line for each test: its status, a tab and its name.

import java.util.HashSet;
import java.util.Set;
import org.junit.runner.Description;
import org.junit.runner.JUnitCore;
import org.junit.runner.notification.Failure;
import org.junit.runner.notification.RunListener;

public final class Listing extends RunListener {
    private final Set<Description> ended = new HashSet<>();

    public static void main(String[] classes) throws Exception {
        JUnitCore core = new JUnitCore();
        core.addListener(new Listing());
        for (String name : classes) {
            core.run(Class.forName(name));
        }
        System.out.println("done");
        // Pools and timers of the tests hold the machine up otherwise.
        System.exit(0);
    }

    private static void say(String status, Description test) {
        System.out.println(status + "\t" + test.getClassName() + "." + test.getMethodName());
    }

    @Override
    public void testFailure(Failure failure) {
        ended.add(failure.getDescription());
        say("fail", failure.getDescription());
        System.out.println(failure.getTrace());
    }

    @Override
    public void testAssumptionFailure(Failure failure) {
        ended.add(failure.getDescription());
        say("skip", failure.getDescription());
    }

    @Override
    public void testIgnored(Description test) {
        say("skip", test);
    }

    @Override
    public void testFinished(Description test) {
        if (!ended.contains(test)) {
            say("ok", test);
        }
    }
}
